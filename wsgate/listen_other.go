//go:build !linux

package wsgate

import (
	"context"
	"fmt"
	"net"
)

// Listen opens a TCP port for clients. On this system no other process can open it too.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("wsgate: %w", err)
	}
	return l, nil
}

// Occupied says no: on this system Listen fails where somebody listens already.
func Occupied(context.Context, string) bool { return false }
