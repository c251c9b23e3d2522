package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/quic-go/quic-go"
)

// Alerts of TLS (RFC 8446, section 6.2) as QUIC numbers them.
const (
	alertBase         = 0x100
	alertBadCert      = alertBase + 42
	alertExpired      = alertBase + 45
	alertUnknownCA    = alertBase + 48
	alertCertRequired = alertBase + 116
	alertNoProtocol   = alertBase + 120
)

// explain says why a handshake failed, and what to do.
func (v *visit) explain(ctx context.Context, addr netip.AddrPort, err error) (what, do string) {
	var failed *quic.TransportError
	var version *quic.VersionNegotiationError
	var closed *quic.ApplicationError
	const same = "give both the same --mesh-secret-file, or certificates of the same authority"
	switch {
	case errors.Is(err, trust.ErrStranger):
		return v.mistrust(err, same)
	case errors.As(err, &version):
		return fmt.Sprintf("speaks other versions of QUIC than this program: %v", err), "run releases that are compatible; or it is no node"
	case errors.As(err, &failed) && failed.Remote:
		switch failed.ErrorCode {
		case alertBadCert, alertExpired, alertUnknownCA, alertCertRequired:
			return "it does not believe this node, which shows " + v.shown(), same + "; if they are, compare the clocks: the seed may find the certificate out of date"
		case alertNoProtocol:
			return "QUIC answers, but it is no node, or one of another release", "correct the port in --join, or upgrade"
		case quic.ConnectionRefused:
			return "it takes no more connections now", "ask again in a minute; its log says what is refused"
		default:
			return err.Error(), "see the seed's log"
		}
	case errors.As(err, &closed):
		return err.Error(), "ask again in a minute; the seed's log says more"
	case isKept(err):
		return kept(err)
	case isUnreachable(err):
		return noWay(err)
	default:
		return v.silence(ctx, addr)
	}
}

func isKept(err error) bool { return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EPERM) }

func kept(err error) (what, do string) {
	return fmt.Sprintf("this machine does not let the packets out: %v", err), "let UDP out (iptables, nftables, security policy of the container)"
}

func isUnreachable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EINVAL)
}

func noWay(err error) (what, do string) {
	return fmt.Sprintf("no way leads there: %v", err), "see ip route, and whether --listen and --join are both IPv4 or both IPv6"
}

// shown is what this node shows others.
func (v *visit) shown() string {
	if v.cfg.Trust.IsOpen() {
		return "no certificate of a mesh: it has no mesh secret"
	}
	return "a certificate by " + v.cfg.Trust.Authority()
}

// mistrust says why this node does not believe the other.
func (v *visit) mistrust(err error, same string) (what, do string) {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate is good from %s to %s, and this clock says %s", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now())),
			"if the clock is right, renew the seed's certificate; else set it: timedatectl set-ntp true"
	case errors.As(err, &unknown) && unknown.Cert != nil && unknown.Cert.Issuer.CommonName == unknown.Cert.Subject.CommonName:
		return "an open mesh: it has no mesh secret, and this node shows " + v.shown(), same
	case errors.As(err, &unknown) && unknown.Cert != nil:
		return fmt.Sprintf("another mesh, or another secret: it shows a certificate by %.80q, and this node %s", unknown.Cert.Issuer.CommonName, v.shown()), same
	}
	return err.Error(), same
}

// silence finds out what it means that no handshake is answered.
func (v *visit) silence(ctx context.Context, addr netip.AddrPort) (what, do string) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Wait)
	defer cancel()
	var udp, tcp error
	var group sync.WaitGroup
	group.Go(func() { udp = quicAnswers(ctx, addr) })
	group.Go(func() {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr.String())
		if tcp = err; err == nil {
			_ = c.Close()
		}
	})
	group.Wait()
	let := fmt.Sprintf("let UDP port %d through, both ways and in packets of 1200 bytes, in the firewalls and security groups on the way and at the seed", addr.Port())
	switch {
	case udp == nil:
		return "QUIC answers, but no handshake comes to its end", "the seed may be overloaded (see its log), or packets over 1200 bytes are lost on the way: lower the MTU of tunnels"
	case isKept(udp):
		return kept(udp)
	case isUnreachable(udp) && tcp != nil:
		return noWay(udp)
	case tcp == nil && (isUnreachable(udp) || errors.Is(udp, syscall.ECONNREFUSED)):
		return fmt.Sprintf("UDP is refused (%v), and TCP to the same port is not: by a firewall on the way, or what listens there is no node", udp), let
	case errors.Is(udp, syscall.ECONNREFUSED):
		return "the machine is there, but nothing has that UDP port", "start a node there, or correct the port in --join"
	case tcp == nil:
		return "UDP is blocked: TCP to the same port gets through, UDP does not", let
	case errors.Is(tcp, syscall.ECONNREFUSED):
		return "nobody answers by UDP; the machine is there, but nothing has that TCP port either", "is a node running there, with a --listen that is not loopback? If it is: " + let
	default:
		return "nobody answers, by UDP or TCP: no machine has the address, or a firewall drops everything", "correct the address in --join; if it is right: " + let
	}
}

// askEvery is the time between two greetings: one may be lost, and machines send few ICMP packets a second.
const askEvery = 400 * time.Millisecond

// quicAnswers reports whether anything speaks QUIC there: who does answers a version that it does not know with those that it does (RFC 9000, section 6).
func quicAnswers(ctx context.Context, addr netip.AddrPort) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	question := greeting()
	b := make([]byte, 1500)
	for {
		if _, err := c.Write(question); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(askEvery))
		n, err := c.Read(b)
		for err == nil && !negotiates(b[:n], question) {
			n, err = c.Read(b)
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// idBytes is the length of both connection IDs of a greeting.
const idBytes = 8

// greeting is a QUIC packet of a version that is reserved so that nobody knows it (RFC 9000, section 15), as long as a first packet must be.
func greeting() []byte {
	b := make([]byte, 1200)
	copy(b, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, idBytes})
	_, _ = rand.Read(b[6 : 6+idBytes]) // it never fails
	b[6+idBytes] = idBytes
	_, _ = rand.Read(b[7+idBytes : 7+2*idBytes])
	return b
}

// negotiates reports whether a packet is a version negotiation that answers a greeting: with its connection IDs, the other way round.
func negotiates(packet, greeting []byte) bool {
	const head = 7 + 2*idBytes
	if len(packet) < head+4 || packet[0]&0x80 == 0 || !bytes.Equal(packet[1:5], []byte{0, 0, 0, 0}) || packet[5] != idBytes || packet[6+idBytes] != idBytes {
		return false
	}
	return bytes.Equal(packet[6:6+idBytes], greeting[7+idBytes:head]) && bytes.Equal(packet[7+idBytes:head], greeting[6:6+idBytes])
}
