package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// MaxRightsLen bounds rights as compact JSON, in bytes, so that a token with them stays below MaxTextLen.
const MaxRightsLen = 5000

// Limits of entries in the lists of a Statement, in bytes.
const (
	maxRegionLen = 64
	maxOriginLen = 256
)

// Why rights are not rights, and why a client with good ones may not come in.
var (
	ErrRights  = errors.New("token: invalid rights")
	ErrAddress = errors.New("token: not for this address")
	ErrRegion  = errors.New("token: not for this region")
	ErrOrigin  = errors.New("token: not for this origin")
)

// Grant is what a token allows in some tenants; the names of its members are those of the REST interface.
type Grant struct {
	TenantIDs        []string `json:"tenant_ids"`
	AllowChannelsPub []string `json:"allow_channels_pub"`
	AllowChannelsSub []string `json:"allow_channels_sub"`
}

// Statement is rights as JSON states them, unchecked. An empty list of the last three restricts nothing.
type Statement struct {
	TenantGrants    []Grant  `json:"tenant_grants"`
	AllowIPMasks    []string `json:"allow_ip_masks,omitempty"`
	AllowRegions    []string `json:"allow_regions,omitempty"`
	AllowedWSOrigin []string `json:"allowed_ws_origin,omitempty"`
	ExpiresAt       string   `json:"expires_at,omitempty"` // RFC 3339; in a signed token the claim exp takes its place
}

// Rights are checked and ready to be asked. They are immutable and safe for concurrent use. The zero Rights allow nothing.
type Rights struct {
	statement Statement // in canonical spelling, without ExpiresAt
	tenants   map[string][]*compiledGrant
	masks     []netip.Prefix
}

type compiledGrant struct {
	publish   []PublishRule
	subscribe []SubscribeRule
}

// NewRights checks a statement, all but ExpiresAt, which it leaves out. Errors wrap ErrRights and say which member is wrong.
func NewRights(s Statement) (*Rights, error) {
	r := &Rights{tenants: make(map[string][]*compiledGrant)}
	if len(s.TenantGrants) == 0 {
		return nil, fmt.Errorf("%w: tenant_grants: none", ErrRights)
	}
	for i, g := range s.TenantGrants {
		if err := r.addGrant(g); err != nil {
			return nil, fmt.Errorf("%w: tenant_grants[%d].%w", ErrRights, i, err)
		}
	}
	for i, text := range s.AllowIPMasks {
		mask, err := parseMask(text)
		if err != nil {
			return nil, fmt.Errorf("%w: allow_ip_masks[%d]: %w", ErrRights, i, err)
		}
		r.masks = append(r.masks, mask)
		r.statement.AllowIPMasks = append(r.statement.AllowIPMasks, mask.String())
	}
	var err error
	if r.statement.AllowRegions, err = checkList("allow_regions", s.AllowRegions, maxRegionLen); err != nil {
		return nil, err
	}
	if r.statement.AllowedWSOrigin, err = checkList("allowed_ws_origin", s.AllowedWSOrigin, maxOriginLen); err != nil {
		return nil, err
	}
	text, err := json.Marshal(r.statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRights, err)
	}
	if len(text) > MaxRightsLen {
		return nil, fmt.Errorf("%w: %d bytes as compact JSON, limit %d", ErrRights, len(text), MaxRightsLen)
	}
	return r, nil
}

// addGrant takes in one grant. The error starts with the member it is about.
func (r *Rights) addGrant(g Grant) error {
	canonical := Grant{TenantIDs: []string{}, AllowChannelsPub: []string{}, AllowChannelsSub: []string{}} // JSON [], never null
	compiled := new(compiledGrant)
	for i, text := range g.AllowChannelsPub {
		rule, err := ParsePublishRule(text)
		if err != nil {
			return fmt.Errorf("allow_channels_pub[%d]: %w", i, err)
		}
		compiled.publish = append(compiled.publish, rule)
		canonical.AllowChannelsPub = append(canonical.AllowChannelsPub, rule.String())
	}
	for i, text := range g.AllowChannelsSub {
		rule, err := ParseSubscribeRule(text)
		if err != nil {
			return fmt.Errorf("allow_channels_sub[%d]: %w", i, err)
		}
		compiled.subscribe = append(compiled.subscribe, rule)
		canonical.AllowChannelsSub = append(canonical.AllowChannelsSub, rule.String())
	}
	if len(g.TenantIDs) == 0 {
		return errors.New("tenant_ids: none")
	}
	for i, text := range g.TenantIDs {
		tenant, err := channel.NormalizeTenant(text)
		if err != nil {
			return fmt.Errorf("tenant_ids[%d]: %w", i, err)
		}
		tenant = strings.Clone(tenant)
		r.tenants[tenant] = append(r.tenants[tenant], compiled)
		canonical.TenantIDs = append(canonical.TenantIDs, tenant)
	}
	r.statement.TenantGrants = append(r.statement.TenantGrants, canonical)
	return nil
}

// parseMask reads a CIDR mask or a single address. Bits past the mask are cleared, IPv4 inside IPv6 becomes plain IPv4.
func parseMask(text string) (netip.Prefix, error) {
	mask, err := netip.ParsePrefix(text)
	if err != nil {
		addr, addrErr := netip.ParseAddr(text)
		if addrErr != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%+.60q is no address and no CIDR mask", text)
		}
		mask = netip.PrefixFrom(addr, addr.BitLen())
	}
	if outside := 128 - 32; mask.Addr().Is4In6() && mask.Bits() >= outside {
		mask = netip.PrefixFrom(mask.Addr().Unmap(), mask.Bits()-outside)
	}
	return mask.Masked(), nil
}

func checkList(member string, list []string, limit int) ([]string, error) {
	var checked []string
	for i, text := range list {
		if text == "" || len(text) > limit || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("%w: %s[%d]: want 1 to %d printable ASCII bytes without blanks", ErrRights, member, i, limit)
		}
		checked = append(checked, strings.Clone(text))
	}
	return checked, nil
}

// Statement is the rights in canonical spelling, without ExpiresAt. It must not be changed.
func (r *Rights) Statement() Statement { return r.statement }

// MayPublish tells whether a grant for the tenant, as channel.NormalizeTenant returns it, allows the channel.
func (r *Rights) MayPublish(tenant, name string) bool {
	for _, grant := range r.tenants[tenant] {
		for i := range grant.publish {
			if grant.publish[i].AllowsPublish(name) {
				return true
			}
		}
	}
	return false
}

// MaySubscribe tells whether one rule of a grant for the tenant, as channel.NormalizeTenant returns it, allows the pattern.
func (r *Rights) MaySubscribe(tenant string, p channel.Pattern) bool {
	for _, grant := range r.tenants[tenant] {
		for i := range grant.subscribe {
			if grant.subscribe[i].AllowsSubscribe(p) {
				return true
			}
		}
	}
	return false
}

// Admits tells whether a client at addr may come in at a node of the given region: nil, or ErrAddress, ErrRegion or ErrOrigin. Regions
// are compared without regard to case, origins byte for byte; originGiven tells an empty Origin header from none.
func (r *Rights) Admits(addr netip.Addr, region, origin string, originGiven bool) error {
	addr = addr.Unmap().WithZone("")
	if !allowedIn(r.masks, func(mask netip.Prefix) bool { return mask.Contains(addr) }) {
		return ErrAddress
	}
	if !allowedIn(r.statement.AllowRegions, func(allowed string) bool { return strings.EqualFold(allowed, region) }) {
		return ErrRegion
	}
	if !allowedIn(r.statement.AllowedWSOrigin, func(allowed string) bool { return originGiven && allowed == origin }) {
		return ErrOrigin
	}
	return nil
}

// allowedIn tells whether the list is empty or some entry fits.
func allowedIn[T any](list []T, fits func(T) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, fits)
}
