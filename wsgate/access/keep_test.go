package access

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

// A node that starts again knows what was revoked before, and what was issued.
func TestLedgerSurvivesRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger")
	synctest.Test(t, func(t *testing.T) {
		keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("sixteen bytes or more")})
		if err != nil {
			t.Fatal(err)
		}
		start := func() (a *Authority, stop func()) {
			a, err := New(Config{Keys: keys, File: file}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- a.Keep(ctx) }()
			return a, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		a, stop := start()
		now := time.Now()
		revoked, good := issue(t, a, now), issue(t, a, now)
		time.Sleep(3 * time.Second)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("not written meanwhile: %v", err)
		}
		if _, err := a.Revoke(revoked, now); err != nil {
			t.Fatal(err)
		}
		stop()

		b, stop := start()
		defer stop()
		if _, err := b.Enter(revoked, Visitor{}, now); !errors.Is(err, token.ErrRevoked) {
			t.Errorf("revoked before the restart: %v", err)
		}
		if _, err := b.Enter(good, Visitor{}, now); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(a.List(""), b.List("")) {
			t.Errorf("%v\n%v", a.List(""), b.List(""))
		}
		before, err1 := os.Stat(file)
		time.Sleep(5 * time.Second)
		after, err2 := os.Stat(file)
		if err := errors.Join(err1, err2); err != nil || !os.SameFile(before, after) {
			t.Errorf("written again without a change: %v", err)
		}
	})
}

func TestLedgerFileFaults(t *testing.T) {
	keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("sixteen bytes or more")})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Keys: keys, File: file}, time.Now()); !errors.Is(err, errFile) {
		t.Errorf("garbage: %v", err)
	}
	a := newAuthority(t, nil)
	a.file = filepath.Join(file, "below a file")
	issue(t, a, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Keep(ctx); err == nil {
		t.Error("kept in no file")
	}
	if err := (*Authority)(nil).Keep(ctx); err != nil {
		t.Error(err)
	}
}

func FuzzParseFile(f *testing.F) {
	entry := token.Entry{ID: token.ID{1}, Created: 1, Stamp: 1, Expires: 2, CreatedBy: "me"}
	f.Add(appendFile(nil, []token.Entry{entry}))
	f.Add([]byte{1, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, err := parseFile(in)
		if err != nil {
			return
		}
		again, err := parseFile(appendFile(nil, entries))
		if err != nil || !reflect.DeepEqual(again, entries) {
			t.Errorf("%v reads back as %v, %v", entries, again, err)
		}
	})
}
