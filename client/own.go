package client

import (
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// places returns up to where the client has come in its own addresses, for the server to say what was lost since.
func (c *Client) places() []*edgev1.OwnAddress {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*edgev1.OwnAddress
	for a, p := range c.own {
		all = append(all, &edgev1.OwnAddress{Address: a, Position: p})
	}
	return all
}

// stand takes where the server says that own addresses stand; of all that there are, if so.
func (c *Client) stand(own []*edgev1.OwnAddress, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all || c.own == nil {
		c.own = make(map[string]*publishv1.Position, len(own))
	}
	for _, o := range own {
		c.ownAt(o.GetAddress(), o.GetPosition())
	}
}

// ownAt notes how far an own address was read; nil where nothing is kept any more. The caller holds the lock.
func (c *Client) ownAt(address string, p *publishv1.Position) {
	if p.GetEpoch() == "" {
		delete(c.own, address)
	} else if c.own != nil {
		c.own[address] = p
	}
}
