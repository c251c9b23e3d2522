package wsgate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sharedListener is a listening socket whose address other processes of the same user may listen at too (SO_REUSEPORT). Among such sockets Linux
// chooses by a hash of the client's address for each new connection, so the way to send all to one of them is to close the others.
type sharedListener struct {
	*net.TCPListener
	inode uint64 // of the socket, which is how the system's table of sockets names it
}

// Listen opens a TCP port for clients so that another process of the same user can open it too, and take the clients over.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var failed error
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", failed)
	}}
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("wsgate: %w", err)
	}
	inode, err := socketInode(l)
	if err != nil {
		return nil, fmt.Errorf("wsgate: %w", errors.Join(err, l.Close()))
	}
	return &sharedListener{TCPListener: l.(*net.TCPListener), inode: inode}, nil
}

func socketInode(l net.Listener) (inode uint64, err error) {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Fstat(int(fd), &stat) }); err != nil {
		return 0, err
	}
	return stat.Ino, os.NewSyscallError("fstat", failed)
}

// Shared tells whether another socket listens at the same address now. Where the system does not tell, it says no.
func (l *sharedListener) Shared() bool {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		others, found := countListeners(f, l.inode)
		_ = f.Close()
		if found {
			return others > 0
		}
	}
	return false
}

// countListeners counts, in a table of sockets as in /proc/net/tcp, those that listen where the socket with this inode does. The table begins with all that
// listen, so that it need not be read to the end, which with many connections is far.
func countListeners(table io.Reader, inode uint64) (others int, found bool) {
	const listening = "0A"
	number := fmt.Append(nil, inode)
	own := ""
	at := map[string]int{}
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes()) // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		if len(fields) < 10 || string(fields[0]) == "sl" {
			continue
		}
		if string(fields[3]) != listening {
			break
		}
		at[string(fields[1])]++
		if bytes.Equal(fields[9], number) {
			own = string(fields[1])
		}
	}
	return at[own] - 1, own != ""
}

// Occupied tells whether somebody listens at addr already. Whoever then means to share the port should be ready for clients before calling Listen: half of
// them come to it from that moment on.
func Occupied(ctx context.Context, addr string) bool {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" {
		return false
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
