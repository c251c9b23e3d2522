package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/quic-go/quic-go"
)

const (
	renewAtOnce = 8
	sweepAfter  = 5 * time.Second // after links were renewed: the other ends of some may have to do so
	lingerTime  = time.Second     // for what is under way on a link that was renewed
)

// noteStranger tells of a connection that ended because one end did not believe the other, or has no such protocol at all.
func (e *Endpoint) noteStranger(remote net.Addr, err error) {
	var failed *quic.TransportError
	var alert *net.OpError // as package tls returns those of the other end
	switch {
	case errors.As(err, &failed) && failed.ErrorCode.IsCryptoError():
	case errors.Is(err, trust.ErrStranger):
	case errors.As(err, &alert) && alert.Op == "remote error":
	default:
		return
	}
	n := e.counters.Strangers.Add(1)
	e.cfg.Strangers.Warn().Stringer("remote", remote).Str("why", fmt.Sprintf("%.300v", err)).Uint64("so_far", n).
		Msg("refused: not a node of this mesh; it needs the same secret, or a certificate of the same authority")
}

// Retrust says that the credentials are others. Links whose certificates are not what they would be now are opened anew, each beside the old one, which it
// replaces; a while later connections to who is not believed any more are closed.
func (e *Endpoint) Retrust() {
	select {
	case e.retrust <- struct{}{}:
	default: // what is to be looked at already will be this
	}
}

func (e *Endpoint) keepTrust(ctx context.Context) {
	sweep := time.NewTimer(0)
	sweep.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.retrust:
			e.renewLinks(ctx)
			sweep.Reset(sweepAfter)
		case <-sweep.C:
			e.dropStrangers()
		}
	}
}

// renewLinks opens those links anew that this end had dialled: the other end does so with its own.
func (e *Endpoint) renewLinks(ctx context.Context) {
	var group sync.WaitGroup
	turns := make(chan struct{}, renewAtOnce)
	for _, l := range e.Links() {
		if !l.dialed || e.cfg.Trust.Current().SameLeaf(l.shown) && e.believed(l.conn) {
			continue
		}
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			if err := e.dial(ctx, l.RemoteAddr(), l.Peer, forRenewal); err != nil {
				e.cfg.Log.Debug().Err(err).Stringer("peer", l.Peer).Msg("link not renewed")
			}
		})
	}
	group.Wait()
}

// retire closes a link that l has replaced: after a while, if it works still, so that what it carries arrives. A peer that renews without end has no more than one such.
func (e *Endpoint) retire(old, l *Link) {
	if l.Renews && l.adopted-old.adopted > int64(lingerTime) {
		linger := time.NewTimer(lingerTime)
		defer linger.Stop()
		select {
		case <-linger.C:
		case <-old.conn.Context().Done():
		case <-e.ctx.Done():
		}
	}
	old.close(codeDuplicate, "replaced")
}

// believed reports whether the peer of a connection would be let in now.
func (e *Endpoint) believed(conn *quic.Conn) bool {
	state := conn.ConnectionState().TLS
	_, err := e.cfg.Trust.Peer(&state)
	return err == nil
}

func (e *Endpoint) dropStrangers() {
	e.mu.Lock()
	var conns []*quic.Conn
	for conn := range e.conns {
		conns = append(conns, conn)
	}
	for _, l := range e.links {
		if l.dialed {
			conns = append(conns, l.conn)
		}
	}
	e.mu.Unlock()
	conns = slices.DeleteFunc(conns, e.believed)
	for _, conn := range conns {
		_ = conn.CloseWithError(codeDone, "not believed any more")
	}
	if len(conns) > 0 {
		e.cfg.Log.Warn().Int("connections", len(conns)).Msg("closed: their peers have not shown certificates of the mesh as it is now")
	}
}

// Authority names who issued the certificate that the peer showed; empty in an open mesh.
func (l *Link) Authority() string {
	state := l.conn.ConnectionState().TLS
	return l.endpoint.cfg.Trust.PeerAuthority(&state)
}
