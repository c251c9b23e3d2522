package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
	"github.com/rs/zerolog"
)

// tokenOptions say which tokens a node takes and gives. Without any of them everybody may connect.
type tokenOptions struct {
	RequireTokens         bool     `help:"Clients need tokens. Their secret is derived from the mesh secret, where none is given here."`
	TokenSecretFile       string   `help:"File with the token secret, 16 bytes or more and the same on every node: clients then need tokens." placeholder:"FILE" type:"path" xor:"secret"`
	TokenSecret           string   `env:"FASTPUBSUB_TOKEN_SECRET" hidden:"" xor:"secret"` // for containers: others on the machine can read a command line
	FormerTokenSecretFile []string `help:"File with a token secret that is only accepted: the last one, or the next; may be given several times." placeholder:"FILE" type:"path"`
	MasterTokenFile       []string `help:"File with tokens that may issue, revoke and list tokens, one a line as MT_... or sha256:<hash>; may be given several times." placeholder:"FILE" type:"path"`
	JWTKey                []string `name:"jwt-key" help:"File with a key whose JWTs are accepted: Ed25519 public keys in PEM, or else an HS256 secret of 32 bytes or more; may be given several times." placeholder:"FILE" type:"path"`
}

// wanted tells whether clients need tokens.
func (o *tokenOptions) wanted() bool {
	return o.given() || o.RequireTokens || len(o.JWTKey)+len(o.MasterTokenFile) > 0
}

// given tells whether there is a secret for tokens alone.
func (o *tokenOptions) given() bool { return o.TokenSecretFile != "" || o.TokenSecret != "" }

// derived tells whether the secret of tokens is derived from the mesh's.
func (o *tokenOptions) derived(secrets []trust.Secret) bool {
	return !o.given() && len(secrets) > 0 && (o.RequireTokens || len(o.MasterTokenFile) > 0)
}

// settleTime is how long a node that has others to compare its ledger of tokens with waits for one of them before it takes clients.
const settleTime = 5 * time.Second

// authority is what decides about clients; nil where they need no tokens. Errors never show what the files hold.
func (o *tokenOptions) authority(c *nodeCommand, secrets []trust.Secret, log zerolog.Logger, node func() *mesh.Node) (*access.Authority, error) {
	signs := o.given() || o.derived(secrets)
	switch {
	case !signs && len(o.MasterTokenFile)+len(o.FormerTokenSecretFile) > 0:
		return nil, fmt.Errorf("%w: --master-token-file and --former-token-secret-file need --token-secret-file, or a mesh secret", errUsage)
	case !signs && o.RequireTokens && len(o.JWTKey) == 0:
		return nil, fmt.Errorf("%w: --require-tokens needs --token-secret-file, --jwt-key or a mesh secret", errUsage)
	case !o.wanted():
		return nil, nil
	}
	keys, masters, err := o.credentials(secrets)
	if err != nil {
		return nil, err
	}
	began, alone := time.Now(), len(c.Join) == 0 && c.DataDir == ""
	cfg := access.Config{
		Keys: keys, Masters: masters, Region: c.Region, Log: log,
		Spread:  func(chunk []byte) { node().SpreadShared(chunk) },
		Settled: func() bool { return alone || node().SharedSettled() || time.Since(began) > settleTime },
	}
	if c.DataDir != "" {
		cfg.File = filepath.Join(c.DataDir, "tokens.ledger")
	}
	return access.New(cfg, began)
}

// credentials are what tokens are judged by, and who may give them.
func (o *tokenOptions) credentials(secrets []trust.Secret) (keys *token.Keys, masters token.Masters, err error) {
	if keys, err = o.keys(secrets); err == nil {
		masters, err = o.masters()
	}
	return keys, masters, err
}

// keys are made of what the options name, and of the mesh's secrets where there is none for tokens.
func (o *tokenOptions) keys(secrets []trust.Secret) (*token.Keys, error) {
	var faults []error
	read := func(flag, file string) []byte {
		text, err := os.ReadFile(file)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", flag, err))
		}
		return bytes.TrimRight(text, "\r\n")
	}
	cfg := token.KeysConfig{Secret: []byte(o.TokenSecret)}
	if o.TokenSecretFile != "" {
		cfg.Secret = read("--token-secret-file", o.TokenSecretFile)
		if len(cfg.Secret) == 0 && len(faults) == 0 { // an empty file must not open the node
			faults = append(faults, fmt.Errorf("--token-secret-file %s: empty", o.TokenSecretFile))
		}
	}
	if o.derived(secrets) {
		all := trust.TokenSecrets(secrets)
		cfg.Secret, cfg.Former = all[0], all[1:]
	}
	for _, file := range o.FormerTokenSecretFile {
		cfg.Former = append(cfg.Former, read("--former-token-secret-file", file))
	}
	for _, file := range o.JWTKey {
		if text := read("--jwt-key", file); bytes.HasPrefix(text, []byte("-----BEGIN")) {
			cfg.PEM = append(cfg.PEM, text)
		} else {
			cfg.HMAC = append(cfg.HMAC, text)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	keys, err := token.NewKeys(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return keys, nil
}

// minMasterLen is the least length of a master token: short ones can be guessed.
const minMasterLen = 16

func (o *tokenOptions) masters() (masters token.Masters, err error) {
	for _, file := range o.MasterTokenFile {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: --master-token-file: %w", errUsage, err)
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			hash, err := masterHash(line)
			if err != nil {
				return nil, fmt.Errorf("%w: --master-token-file %s: line %d: %w", errUsage, file, number, err)
			}
			masters = append(masters, hash)
		}
	}
	return masters, nil
}

func masterHash(line string) (token.MasterHash, error) {
	if hash, found := strings.CutPrefix(line, "sha256:"); found {
		return token.ParseMasterHash(hash)
	}
	if len(line) < minMasterLen {
		return token.MasterHash{}, fmt.Errorf("a master token of %d bytes, want %d or more", len(line), minMasterLen)
	}
	return token.HashMaster(line), nil
}
