package doctor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// owner is the process that has a port, where /proc tells: of other users' processes it does so only to root.
func owner(ctx context.Context, network, addr string) (process, bool) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return process{}, false
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, text)
	if err != nil {
		return process{}, false
	}
	var links []string
	for _, table := range []string{network, network + "6"} {
		f, err := os.Open("/proc/self/net/" + table)
		if err != nil {
			continue
		}
		for _, inode := range holders(f, uint16(port), network == "tcp") {
			links = append(links, fmt.Sprintf("socket:[%d]", inode))
		}
		_ = f.Close()
	}
	if len(links) == 0 {
		return process{}, false
	}
	names, _ := filepath.Glob("/proc/[0-9]*/fd/*") // its only error is of the pattern
	for _, name := range names {
		if link, err := os.Readlink(name); err != nil || !slices.Contains(links, link) {
			continue
		}
		dir := filepath.Dir(filepath.Dir(name))
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		program, err := os.Readlink(dir + "/exe")
		if err != nil {
			program = "a program without a name"
		}
		return process{id, filepath.Base(program)}, true
	}
	return process{}, false
}
