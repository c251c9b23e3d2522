package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh"
)

// printable is text without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// port is the socket that peers are asked from.
type port struct {
	socket    net.PacketConn
	own       bool // it is the node's
	advertise netip.AddrPort
}

func (p *port) close() { _ = p.socket.Close() }

// nodePort opens the node's UDP port; where another process has it, any; nil where there is none to be had.
func (v *visit) nodePort(ctx context.Context) *port {
	var lc net.ListenConfig
	p := &port{own: true}
	socket, err := lc.ListenPacket(ctx, "udp", v.cfg.Listen)
	switch {
	case err == nil:
		v.add(OK, "UDP port", v.cfg.Listen+" is free", "")
	case errors.Is(err, syscall.EADDRINUSE):
		v.occupied(ctx, "UDP port", "udp", v.cfg.Listen, "--listen")
		p.own = false
		host, _, _ := net.SplitHostPort(v.cfg.Listen)
		if socket, err = lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0")); err != nil {
			v.add(Fail, "UDP port", err.Error(), unlistenable(err))
			return nil
		}
	default:
		v.add(Fail, "UDP port", err.Error(), unlistenable(err))
		return nil
	}
	p.socket = socket
	if p.advertise, err = mesh.Advertised(v.cfg.Advertise, socket.LocalAddr()); err != nil {
		v.add(Fail, "advertise", err.Error(), "--advertise takes the address that other nodes reach this one at, such as 203.0.113.7:7946")
		p.advertise, _ = mesh.Advertised("", socket.LocalAddr())
	}
	if v.cfg.TCP && p.own {
		l, err := lc.Listen(ctx, "tcp", socket.LocalAddr().String())
		if err != nil {
			v.add(Warn, "TCP port", fmt.Sprintf("near nodes will use UDP alone, at more cost: %v", err), "free the TCP port with the number of --listen, or say --no-tcp")
		} else {
			_ = l.Close()
			v.add(OK, "TCP port", socket.LocalAddr().String()+" is free, for nodes near by", "")
		}
	}
	return p
}

// unlistenable is what to do about an address that cannot be listened at.
func unlistenable(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no interface of this machine has that address: 0.0.0.0 stands for all, and --advertise says what others see"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need rights that the user does not have: choose another"
	}
	return "give an address of this machine as HOST:PORT"
}

// occupied tells who has a port: a node may, since the doctor can be asked while it runs.
func (v *visit) occupied(ctx context.Context, what, network, addr, flag string) {
	who, known := owner(ctx, network, addr)
	switch {
	case known && who.node():
		v.add(OK, what, fmt.Sprintf("%s is in use by %v, a node that runs", addr, who), "")
	case known:
		v.add(Fail, what, fmt.Sprintf("%s is in use by %v", addr, who), "stop that, or choose another port by "+flag)
	default:
		v.add(Fail, what, addr+" is in use by another process", fmt.Sprintf("find it as root by: ss -lp, and stop it, or choose another port by %s", flag))
	}
}

// clientPort looks whether clients can be served.
func (v *visit) clientPort(ctx context.Context) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", v.cfg.WS)
	switch {
	case err == nil:
		_ = l.Close()
		v.add(OK, "client port", v.cfg.WS+" is free", "")
	case errors.Is(err, syscall.EADDRINUSE):
		v.occupied(ctx, "client port", "tcp", v.cfg.WS, "--ws")
	default:
		v.add(Fail, "client port", err.Error(), unlistenable(err))
	}
}

// wantBuffer is what quic-go asks of the kernel, in bytes, for either direction.
const wantBuffer = 7 << 20

// buffers looks what the kernel gives a socket that asks as a node does.
func (v *visit) buffers(p *port) {
	udp, ok := p.socket.(*net.UDPConn)
	if !ok {
		return
	}
	_ = udp.SetReadBuffer(wantBuffer) // that it may give less is what is looked at
	_ = udp.SetWriteBuffer(wantBuffer)
	receive, send := forward.BufferSizes(udp)
	detail := fmt.Sprintf("receive %s, send %s, of %s wanted", mib(receive), mib(send), mib(wantBuffer))
	switch {
	case receive == 0 && send == 0:
		v.add(Skip, "UDP buffers", "this system does not tell their sizes", "")
	case receive < wantBuffer || send < wantBuffer:
		v.add(Warn, "UDP buffers", detail+": bursts may be lost", fmt.Sprintf("sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d", wantBuffer, wantBuffer))
	default:
		v.add(OK, "UDP buffers", detail, "")
	}
}

func mib(bytes int) string { return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20)) }

// spareFiles is what a node opens besides its clients' connections.
const spareFiles = 256

// descriptors compares the limit of open files with the clients that there may be.
func (v *visit) descriptors() {
	most, ok := openFiles()
	switch want := uint64(v.cfg.Connections) + spareFiles; {
	case !ok:
		v.add(Skip, "open files", "this system does not tell the limit", "")
	case most < want:
		v.add(Warn, "open files", fmt.Sprintf("%d at most, and %d clients may come (--max-connections)", most, v.cfg.Connections), fmt.Sprintf("raise the hard limit to %d: ulimit -Hn, or LimitNOFILE= of the service", want))
	default:
		v.add(OK, "open files", fmt.Sprintf("%d at most", most), "")
	}
}

// files looks at what the node is to read and write.
func (v *visit) files() {
	v.dataDir()
	if v.cfg.Trust.Until().Year() < 9999 { // else it is minted at the start, without an end
		v.window("mesh cert", v.cfg.Trust.From(), v.cfg.Trust.Until(), v.cfg.Now(), "--mesh-cert")
	}
	if v.cfg.TLSCert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(v.cfg.TLSCert, v.cfg.TLSKey)
	if err != nil {
		v.add(Fail, "client TLS", fmt.Sprintf("%s, %s: %v", v.cfg.TLSCert, v.cfg.TLSKey, err), "give --tls-cert and --tls-key files that the user can read and that belong together")
		return
	}
	v.window("client TLS", pair.Leaf.NotBefore, pair.Leaf.NotAfter, v.cfg.Now(), "--tls-cert")
	host, _, err := net.SplitHostPort(v.cfg.Client)
	if err != nil || host == "" {
		return // nothing is told to clients
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return
	}
	if err := pair.Leaf.VerifyHostname(host); err != nil {
		v.add(Warn, "client TLS", fmt.Sprintf("clients are sent to %s, which the certificate is not for: %v", host, err), "--advertise-ws takes a name that it is for")
	}
}

// window judges a certificate by its dates.
func (v *visit) window(what string, from, until, now time.Time, flag string) {
	switch dates := fmt.Sprintf("good from %s to %s", day(from), day(until)); {
	case now.Before(from):
		v.add(Fail, what, fmt.Sprintf("not good yet: %s, and the clock says %s", dates, day(now)), "set the clock (timedatectl), or have the certificate of "+flag+" made anew")
	case now.After(until):
		v.add(Fail, what, fmt.Sprintf("not good any more: %s, and the clock says %s", dates, day(now)), "set the clock (timedatectl), or renew the certificate of "+flag)
	case until.Sub(now) < soonOver:
		v.add(Warn, what, "ends soon: "+dates, "renew the certificate of "+flag+"; a node that runs takes it over by itself")
	default:
		v.add(OK, what, dates, "")
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// dataDir looks whether the data directory can be written to.
func (v *visit) dataDir() {
	dir := v.cfg.DataDir
	if dir == "" {
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.add(OK, "data dir", dir+" is not there yet; the node will make it", "")
	case err != nil:
		v.add(Fail, "data dir", err.Error(), "let the node's user write there, or choose another --data-dir")
	default:
		_ = f.Close()
		_ = os.Remove(f.Name())
		v.add(OK, "data dir", dir+" can be written to", "")
	}
}
