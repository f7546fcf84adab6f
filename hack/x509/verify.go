package main

import (
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// verify has Go build and check the chains of the first certificate of a file, and prints the subjects of each.
func verify(arguments []string) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	roots := flags.String("roots", "", "PEM file of the trusted certificates")
	chain := flags.String("chain", "", "PEM file: the certificate, then those between it and a root")
	name := flags.String("name", "", "host that the certificate has to be for")
	at := flags.String("at", "", "moment of the verification (RFC 3339); now by default")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), DNSName: *name,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if *at != "" {
		moment, err := time.Parse(time.RFC3339, *at)
		if err != nil {
			return err
		}
		options.CurrentTime = moment
	}
	trusted, err := os.ReadFile(*roots)
	if err != nil || !options.Roots.AppendCertsFromPEM(trusted) {
		return fmt.Errorf("%s: no certificate (%v)", *roots, err)
	}
	blocks, err := readBlocks(*chain)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(blocks[0].Bytes)
	if err != nil {
		return err
	}
	for _, block := range blocks[1:] {
		between, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		options.Intermediates.AddCert(between)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return err
	}
	subjects := [][]string{}
	for _, found := range chains {
		one := []string{}
		for _, each := range found {
			one = append(one, each.Subject.String())
		}
		subjects = append(subjects, one)
	}
	return json.NewEncoder(os.Stdout).Encode(subjects)
}
