package main

import (
	"encoding/pem"
	"slices"
	"strings"

	"github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

type finding struct {
	Lint    string `json:"lint"`
	Status  string `json:"status"` // notice, warn, error, fatal
	Source  string `json:"source"` // whose rule it is, such as RFC5280
	Details string `json:"details"`
}

// lintBlock gives what zlint finds wrong with a certificate or a CRL, by all its rules.
func lintBlock(block *pem.Block) (any, error) {
	var results *zlint.ResultSet
	if block.Type == "X509 CRL" {
		parsed, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		results = zlint.LintRevocationList(parsed)
	} else {
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		results = zlint.LintCertificate(parsed)
	}
	found := []finding{}
	for name, result := range results.Results {
		if result.Status <= lint.Pass {
			continue
		}
		metadata := result.LintMetadata
		found = append(found, finding{name, result.Status.String(), string(metadata.Source), result.Details})
	}
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.Lint, b.Lint) })
	return found, nil
}
