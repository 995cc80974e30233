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

// Cluster is a high availability cluster with integrated storage (raft). The leader
// is the active node; the others are standbys and forward requests to it.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a cluster and waits until all nodes are voters. Each node has
// its own directory in DataDir. The caller must call Stop.
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
		nodeOptions := o
		node := fmt.Sprintf("node-%d", i+1)
		nodeOptions.DataDir = filepath.Join(o.DataDir, node)
		s, err := newServer(nodeOptions, node)
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

// bootstrap initializes the cluster with its first node.
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
	// A new node becomes a voter after this time, which is ten seconds by default.
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

// Stop stops all nodes.
func (c *Cluster) Stop() error {
	var errs error
	for _, s := range c.Nodes {
		errs = errors.Join(errs, s.Stop())
	}
	return errs
}

// WaitForLeader waits until all nodes except those in excluded agree on the leader
// and the leader is active. It returns the leader.
func (c *Cluster) WaitForLeader(ctx context.Context, excluded ...*Server) (leader *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		leader, err = c.leader(ctx, excluded)
		if err == nil {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a leader of the cluster: %w", err)
		case <-time.After(pollInterval):
		}
	}
}

// leader returns the leader that all nodes except those in excluded agree on. It
// returns an error if they do not, or if the leader is not active yet.
func (c *Cluster) leader(ctx context.Context, excluded []*Server) (*Server, error) {
	address := ""
	var leader *Server
	for _, s := range c.Nodes {
		if slices.Contains(excluded, s) {
			continue
		}
		client, err := s.Client("")
		if err != nil {
			return nil, err
		}
		status, err := client.Sys().LeaderWithContext(ctx)
		switch {
		case err != nil:
			return nil, err
		case status.LeaderAddress == "" || address != "" && status.LeaderAddress != address:
			return nil, fmt.Errorf("%s reports leader %q, other nodes report %q", s.node, status.LeaderAddress, address)
		case status.IsSelf:
			leader = s
		}
		address = status.LeaderAddress
	}
	if leader == nil || leader.Address() != address {
		return nil, fmt.Errorf("%q does not report itself as the leader", address)
	}
	// A new leader may not have loaded its mounts yet.
	client, err := leader.Client("")
	if err != nil {
		return nil, err
	}
	health, err := client.Sys().HealthWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if health.Sealed || health.Standby {
		return nil, fmt.Errorf("leader %s is not active yet", leader.node)
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
			return fmt.Errorf("waiting for all nodes to become voters: %w", errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}
