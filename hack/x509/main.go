// clm-x509 reads certificates, CRLs and chains as Go does, and lints them with zlint. It prints JSON.
//
//	clm-x509 read FILE...           every certificate of these PEM files
//	clm-x509 crl FILE...            every CRL of these PEM files
//	clm-x509 lint FILE...           findings of zlint, a list for each certificate or CRL of these PEM files
//	clm-x509 verify [-name NAME] [-at MOMENT] -roots FILE -chain FILE
package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: clm-x509 read|crl|lint FILE... | verify OPTIONS")
	}
	command, rest := arguments[0], arguments[1:]
	switch command {
	case "read":
		return printEach(rest, readCertificate)
	case "crl":
		return printEach(rest, readList)
	case "lint":
		return printEach(rest, lintBlock)
	case "verify":
		return verify(rest)
	}
	return fmt.Errorf("%s: no such command", command)
}

// printEach prints what is made of each PEM block of the files, as one JSON list.
func printEach(files []string, of func(*pem.Block) (any, error)) error {
	made := []any{}
	for _, file := range files {
		blocks, err := readBlocks(file)
		if err != nil {
			return err
		}
		for _, block := range blocks {
			one, err := of(block)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			made = append(made, one)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(made)
}

func readBlocks(file string) ([]*pem.Block, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	blocks := []*pem.Block{}
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		blocks, rest = append(blocks, block), after
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: no PEM block", file)
	}
	return blocks, nil
}
