package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

type attribute struct {
	Type  string `json:"type"`
	Tag   int    `json:"tag"` // of the ASN.1 string: 12 UTF8String, 19 PrintableString, 22 IA5String
	Value string `json:"value"`
}

type extension struct {
	Critical bool   `json:"critical"`
	Value    string `json:"value"` // DER, in hexadecimal
}

type otherName struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type subtrees struct {
	DNS    []string `json:"dns"`
	IP     []string `json:"ip"`
	Emails []string `json:"emails"`
	URIs   []string `json:"uris"`
}

type certificate struct {
	Version            int                  `json:"version"`
	Serial             string               `json:"serial"`
	SignatureAlgorithm string               `json:"signatureAlgorithm"`
	Issuer             [][]attribute        `json:"issuer"`
	Subject            [][]attribute        `json:"subject"`
	NotBefore          time.Time            `json:"notBefore"`
	NotAfter           time.Time            `json:"notAfter"`
	KeyAlgorithm       string               `json:"keyAlgorithm"`
	KeySize            int                  `json:"keySize"`
	DNSNames           []string             `json:"dnsNames"`
	IPAddresses        []net.IP             `json:"ipAddresses"`
	URIs               []string             `json:"uris"`
	EmailAddresses     []string             `json:"emailAddresses"`
	OtherNames         []otherName          `json:"otherNames"`
	KeyUsage           []string             `json:"keyUsage"`
	ExtKeyUsage        []string             `json:"extKeyUsage"` // object identifiers, in their order
	IsCA               bool                 `json:"isCA"`
	MaxPathLen         int                  `json:"maxPathLen"` // -1: none
	Permitted          subtrees             `json:"permitted"`
	Excluded           subtrees             `json:"excluded"`
	CRLs               []string             `json:"crls"`
	OCSP               []string             `json:"ocsp"`
	CAIssuers          []string             `json:"caIssuers"`
	SubjectKeyID       string               `json:"subjectKeyId"`
	AuthorityKeyID     string               `json:"authorityKeyId"`
	Extensions         map[string]extension `json:"extensions"`
}

type revoked struct {
	Serial  string    `json:"serial"`
	Revoked time.Time `json:"revoked"`
	Reason  int       `json:"reason"`
}

type list struct {
	SignatureAlgorithm string               `json:"signatureAlgorithm"`
	Issuer             [][]attribute        `json:"issuer"`
	Number             string               `json:"number"`
	ThisUpdate         time.Time            `json:"thisUpdate"`
	NextUpdate         time.Time            `json:"nextUpdate"`
	AuthorityKeyID     string               `json:"authorityKeyId"`
	Revoked            []revoked            `json:"revoked"`
	Extensions         map[string]extension `json:"extensions"`
}

var bits = []string{
	"digital signature", "content commitment", "key encipherment", "data encipherment", "key agreement", "cert sign",
	"crl sign", "encipher only", "decipher only",
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidExtKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
)

func readCertificate(block *pem.Block) (any, error) {
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	made := certificate{
		Version: parsed.Version, Serial: parsed.SerialNumber.Text(16),
		SignatureAlgorithm: parsed.SignatureAlgorithm.String(),
		NotBefore:          parsed.NotBefore, NotAfter: parsed.NotAfter,
		DNSNames: parsed.DNSNames, IPAddresses: parsed.IPAddresses, EmailAddresses: parsed.EmailAddresses,
		IsCA: parsed.IsCA, MaxPathLen: parsed.MaxPathLen,
		CRLs: parsed.CRLDistributionPoints, OCSP: parsed.OCSPServer, CAIssuers: parsed.IssuingCertificateURL,
		SubjectKeyID: hex.EncodeToString(parsed.SubjectKeyId), AuthorityKeyID: hex.EncodeToString(parsed.AuthorityKeyId),
		Permitted: subtrees{parsed.PermittedDNSDomains, networks(parsed.PermittedIPRanges), parsed.PermittedEmailAddresses, parsed.PermittedURIDomains},
		Excluded:  subtrees{parsed.ExcludedDNSDomains, networks(parsed.ExcludedIPRanges), parsed.ExcludedEmailAddresses, parsed.ExcludedURIDomains},
	}
	if !parsed.BasicConstraintsValid || (parsed.MaxPathLen == 0 && !parsed.MaxPathLenZero) {
		made.MaxPathLen = -1
	}
	for _, uri := range parsed.URIs {
		made.URIs = append(made.URIs, uri.String())
	}
	for bit, name := range bits {
		if parsed.KeyUsage&(1<<bit) != 0 {
			made.KeyUsage = append(made.KeyUsage, name)
		}
	}
	made.KeyAlgorithm, made.KeySize = describeKey(parsed.PublicKey)
	made.Extensions = extensions(parsed.Extensions)
	if made.Issuer, err = readName(parsed.RawIssuer); err != nil {
		return nil, err
	}
	if made.Subject, err = readName(parsed.RawSubject); err != nil {
		return nil, err
	}
	return made, made.addWhatGoLeavesOut(parsed.Extensions)
}

// addWhatGoLeavesOut reads otherNames, which Go knows nothing of, and usages in the order in which they stand.
func (made *certificate) addWhatGoLeavesOut(all []pkix.Extension) error {
	for _, each := range all {
		switch {
		case each.Id.Equal(oidSubjectAltName):
			names := []asn1.RawValue{}
			if _, err := asn1.Unmarshal(each.Value, &names); err != nil {
				return err
			}
			for _, name := range names {
				if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
					continue
				}
				var other struct {
					Type  asn1.ObjectIdentifier
					Value string `asn1:"explicit,tag:0,utf8"`
				}
				if _, err := asn1.UnmarshalWithParams(name.FullBytes, &other, "tag:0"); err != nil {
					return err
				}
				made.OtherNames = append(made.OtherNames, otherName{other.Type.String(), other.Value})
			}
		case each.Id.Equal(oidExtKeyUsage):
			usages := []asn1.ObjectIdentifier{}
			if _, err := asn1.Unmarshal(each.Value, &usages); err != nil {
				return err
			}
			for _, usage := range usages {
				made.ExtKeyUsage = append(made.ExtKeyUsage, usage.String())
			}
		}
	}
	return nil
}

func readList(block *pem.Block) (any, error) {
	parsed, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, err
	}
	made := list{
		SignatureAlgorithm: parsed.SignatureAlgorithm.String(), ThisUpdate: parsed.ThisUpdate, NextUpdate: parsed.NextUpdate,
		AuthorityKeyID: hex.EncodeToString(parsed.AuthorityKeyId), Extensions: extensions(parsed.Extensions),
		Revoked: []revoked{},
	}
	if parsed.Number != nil {
		made.Number = parsed.Number.String()
	}
	for _, each := range parsed.RevokedCertificateEntries {
		made.Revoked = append(made.Revoked, revoked{each.SerialNumber.Text(16), each.RevocationTime, each.ReasonCode})
	}
	made.Issuer, err = readName(parsed.RawIssuer)
	return made, err
}

// readName keeps what pkix.Name loses: the order, what belongs together, and how strings are written.
func readName(raw []byte) ([][]attribute, error) {
	var sequence []asn1.RawValue
	if _, err := asn1.Unmarshal(raw, &sequence); err != nil {
		return nil, err
	}
	name := [][]attribute{}
	for _, set := range sequence {
		var values []struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if _, err := asn1.UnmarshalWithParams(set.FullBytes, &values, "set"); err != nil {
			return nil, err
		}
		together := []attribute{}
		for _, each := range values {
			together = append(together, attribute{each.Type.String(), each.Value.Tag, string(each.Value.Bytes)})
		}
		name = append(name, together)
	}
	return name, nil
}

func extensions(all []pkix.Extension) map[string]extension {
	made := map[string]extension{}
	for _, each := range all {
		made[each.Id.String()] = extension{each.Critical, hex.EncodeToString(each.Value)}
	}
	return made
}

func networks(ranges []*net.IPNet) []string {
	var made []string
	for _, each := range ranges {
		made = append(made, each.String())
	}
	return made
}

func describeKey(key any) (string, int) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 256
	}
	return fmt.Sprintf("%T", key), 0
}
