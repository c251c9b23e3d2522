package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Files of a data directory.
const (
	keyFile   = "node.key" // PKCS #8 PEM, mode 0600
	bootFile  = "boot"     // last boot number, decimal
	knownFile = "members.json"
)

// Identity is what makes a node the same node from run to run, and this run different from the last.
type Identity struct {
	Key  ed25519.PrivateKey
	Boot uint64 // ms since 1970 at the start, and always above the run before
}

// LoadIdentity reads the key in the file, or else of a data directory, making directory and key at the first start, and counts the boot. An empty
// dir gives a boot, and without a file a fresh key, that lives in memory only.
func LoadIdentity(dir, file string, now time.Time) (Identity, error) {
	boot := uint64(now.UnixMilli())
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return Identity{}, fmt.Errorf("mesh: data directory: %w", err)
		}
	}
	var key ed25519.PrivateKey
	var err error
	switch {
	case file != "":
		key, err = LoadKey(file)
	case dir == "":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		file = filepath.Join(dir, keyFile)
		if key, err = LoadKey(file); errors.Is(err, fs.ErrNotExist) {
			key, err = makeKey(file)
		}
	}
	if err != nil {
		return Identity{}, fmt.Errorf("mesh: node key: %w", err)
	}
	if dir == "" {
		return Identity{key, boot}, nil
	}
	if boot, err = nextBoot(filepath.Join(dir, bootFile), boot); err != nil {
		return Identity{}, fmt.Errorf("mesh: boot number: %w", err)
	}
	return Identity{key, boot}, nil
}

// LoadKey reads an Ed25519 key, PKCS #8 in PEM.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, want an Ed25519 key", path, parsed)
	}
	return key, nil
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, replaceFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// nextBoot is at least the given number and above the one in the file, which it replaces.
func nextBoot(path string, boot uint64) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err == nil {
		last, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		boot = max(boot, last+1)
	}
	return boot, replaceFile(path, []byte(strconv.FormatUint(boot, 10)+"\n"))
}

// replaceFile writes under another name first, so that a crash leaves the old file or the new one.
func replaceFile(path string, b []byte) error {
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
