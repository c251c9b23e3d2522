package access

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

const (
	keepPause = time.Second            // at least between two writes of the file,
	keepEach  = 100 * time.Microsecond // and more for each entry, as the whole ledger is written
)

// errFile reports a file that was not written by this package, or not to its end.
var errFile = errors.New("access: malformed ledger file")

// Keep keeps the ledger in the file that Config.File names, if any, until ctx ends; a nil Authority has none. So a mesh that stops as a whole still
// knows at its next start what was revoked. The file is written a little after each change, and at the end. Where that fails it is tried again; the
// error is about the last time.
func (a *Authority) Keep(ctx context.Context) error {
	if a == nil || a.file == "" {
		<-ctx.Done()
		return nil
	}
	kept, failed := a.kept, error(nil)
	timer := time.NewTimer(keepPause)
	defer timer.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-timer.C:
		}
		entries := 0
		if digest := string(a.Digest()); digest != kept {
			all := a.List("")
			entries = len(all)
			err := replaceFile(a.file, appendFile(nil, all))
			if err == nil {
				kept = digest
			} else if failed == nil && !ended {
				a.log.Error().Err(err).Msg("revocations would not survive a restart: the ledger of tokens cannot be kept")
			}
			failed = err
		}
		timer.Reset(keepPause + time.Duration(entries)*keepEach)
	}
	if failed != nil {
		return fmt.Errorf("access: keep ledger: %w", failed)
	}
	return nil
}

// load takes in what an earlier run kept. What is over is left out.
func (a *Authority) load(now time.Time) error {
	b, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := parseFile(b)
	if err != nil {
		return fmt.Errorf("%s: %w", a.file, err)
	}
	a.mu.Lock()
	a.ledger.Merge(entries, now)
	a.mu.Unlock()
	a.kept = string(a.Digest())
	return nil
}

// appendFile appends the entries as chunks, each with its length before it.
func appendFile(dst []byte, entries []token.Entry) []byte {
	for len(entries) > 0 {
		var chunk []byte
		chunk, entries = token.AppendEntries(nil, entries)
		dst = append(binary.AppendUvarint(dst, uint64(len(chunk))), chunk...)
	}
	return dst
}

func parseFile(b []byte) (entries []token.Entry, err error) {
	for len(b) > 0 {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > token.MaxChunkLen || uint64(len(b)-width) < n {
			return nil, errFile
		}
		chunk, err := token.ParseEntries(b[width : width+int(n)])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFile, err)
		}
		entries, b = append(entries, chunk...), b[width+int(n):]
	}
	return entries, nil
}

// replaceFile writes under another name first, so that a crash leaves the old file or the new one.
func replaceFile(path string, b []byte) error {
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
