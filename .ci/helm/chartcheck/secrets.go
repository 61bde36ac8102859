package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// secretLike is something of the form of what a pod finds in that file of its secrets.
func secretLike(path string) ([]byte, error) {
	switch path {
	case "hmac-secret", "hmac-secret-previous":
		return fmt.Appendf(nil, "0123456789 of 32 bytes or more: %s\n", path), nil
	case "redis-urls":
		return fmt.Appendf(nil, "redis://parlance:a-password@%s\n", nobody), nil
	case "store-password":
		return []byte("a-password\n"), nil
	case "tokens":
		return []byte("a.b.c\tlobby\nd.e.f\tlobby\n"), nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	switch path {
	case "public-key.pem":
		text, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: text}), err
	case "jwks.json":
		return keySet(&key.PublicKey)
	case "store-ca.crt":
		return authority(key)
	}
	return nil, fmt.Errorf("chartcheck does not know what %s is like", path)
}

func keySet(key *ecdsa.PublicKey) ([]byte, error) {
	// The point without compression: one byte, then both coordinates.
	point, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	coordinates := point[1:]
	half := len(coordinates) / 2
	encode := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
		"x": encode(coordinates[:half]), "y": encode(coordinates[half:]),
	}}})
}

func authority(key *ecdsa.PrivateKey) ([]byte, error) {
	like := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	text, err := x509.CreateCertificate(rand.Reader, like, like, &key.PublicKey, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text}), err
}
