package vaultserver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
)

// Cluster is several servers with one integrated storage (raft). One of them is
// the leader, which serves; the others stand by and forward to it.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a cluster of a number of nodes and waits until each of them
// has a vote. Every node has a folder of its own in DataDir. Stop ends it.
func StartCluster(ctx context.Context, o Options, nodes int) (*Cluster, error) {
	if o.DataDir == "" {
		return nil, errors.New("a cluster needs a DataDir")
	}
	c := &Cluster{}
	if err := c.start(ctx, o, nodes); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options, nodes int) error {
	for i := range nodes {
		own := o
		node := fmt.Sprintf("node-%d", i+1)
		own.DataDir = filepath.Join(o.DataDir, node)
		s, err := newServer(own, node)
		if err != nil {
			return err
		}
		s.inCluster = true
		if err := s.start(ctx); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
		if i == 0 {
			err = c.bootstrap(ctx, s)
		} else {
			err = c.join(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return c.waitVoters(ctx)
}

// bootstrap makes the first node a cluster of its own.
func (c *Cluster) bootstrap(ctx context.Context, s *Server) error {
	if err := s.initialize(ctx); err != nil {
		return err
	}
	if err := s.waitActive(ctx); err != nil {
		return err
	}
	client, err := s.Client("")
	if err != nil {
		return err
	}
	// A new node gets its vote after this time, ten seconds by default.
	_, err = client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"})
	return err
}

func (c *Cluster) join(ctx context.Context, s *Server) error {
	first := c.Nodes[0]
	s.token, s.keys = first.token, first.keys
	client, err := s.Client("")
	if err != nil {
		return err
	}
	if _, err := client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: first.Address()}); err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	if err := s.unseal(ctx); err != nil {
		return err
	}
	return s.waitUnsealed(ctx)
}

// Stop ends all nodes.
func (c *Cluster) Stop() error {
	var failed error
	for _, s := range c.Nodes {
		failed = errors.Join(failed, s.Stop())
	}
	return failed
}

// WaitForLeader waits until all nodes, those apart that are known to be away, know the
// same leader and it serves; and gives it.
func (c *Cluster) WaitForLeader(ctx context.Context, away ...*Server) (leader *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		leader, err = c.leader(ctx, away)
		if err == nil {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the cluster did not settle on a leader: %w", err)
		case <-time.After(pollInterval):
		}
	}
}

// leader asks every node that is not away. It is an error if they do not agree.
func (c *Cluster) leader(ctx context.Context, away []*Server) (*Server, error) {
	address := ""
	var leader *Server
	for _, s := range c.Nodes {
		if slices.Contains(away, s) {
			continue
		}
		client, err := s.Client("")
		if err != nil {
			return nil, err
		}
		said, err := client.Sys().LeaderWithContext(ctx)
		switch {
		case err != nil:
			return nil, err
		case said.LeaderAddress == "" || address != "" && said.LeaderAddress != address:
			return nil, fmt.Errorf("%s says that %q leads, others say %q", s.node, said.LeaderAddress, address)
		case said.IsSelf:
			leader = s
		}
		address = said.LeaderAddress
	}
	if leader == nil || leader.Address() != address {
		return nil, fmt.Errorf("%q does not take itself for the leader", address)
	}
	// The one that leads may not have its mounts ready yet.
	client, err := leader.Client("")
	if err != nil {
		return nil, err
	}
	health, err := client.Sys().HealthWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if health.Sealed || health.Standby {
		return nil, fmt.Errorf("%s leads and does not serve yet", leader.node)
	}
	return leader, nil
}

func (c *Cluster) waitVoters(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := c.Nodes[0].Client("")
	if err != nil {
		return err
	}
	for {
		state, err := client.Sys().RaftAutopilotStateWithContext(ctx)
		if err == nil && state != nil && len(state.Voters) == len(c.Nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all nodes of the cluster got a vote: %w", errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}
