package special

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// part is the process that waits.
func (w wake) part(ctx context.Context, s scenario.Setup, part string, in io.Reader, out io.Writer) error {
	keys, err := strconv.Atoi(part)
	if err != nil {
		return err
	}
	s.Env.Goroutines = max(1, keys)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return obey(in, out, func(order) *report { return failed(fmt.Errorf("opening: %w", err)) })
	}
	var raw *pgx.Conn
	if s.AdminDSN != "" {
		if raw, err = pgx.Connect(ctx, s.AdminDSN); err != nil {
			return errors.Join(err, client.Close())
		}
		defer func() { _ = raw.Close(context.WithoutCancel(ctx)) }()
	}
	v := &waiter{client: client, raw: raw, told: make(chan *report, keys+1)}
	answers := &lines{out: out}
	var telling sync.WaitGroup
	telling.Go(func() {
		for r := range v.told {
			answers.write(r)
		}
	})
	err = obey(in, io.Discard, func(o order) *report {
		v.do(ctx, o, keys)
		return nil
	})
	cancel()
	v.waiting.Wait()
	close(v.told)
	telling.Wait()
	return errors.Join(err, answers.err, client.Close())
}

type waiter struct {
	client  peer.Client
	raw     *pgx.Conn
	told    chan *report
	waiting sync.WaitGroup
}

func (v *waiter) do(ctx context.Context, o order, keys int) {
	switch o.Do {
	case "system":
		v.told <- v.wait(ctx, oneKey)
	case "raw":
		v.told <- v.waitRaw(ctx)
	case "gather":
		var asking atomic.Int64
		for i := range keys {
			v.waiting.Go(func() {
				asking.Add(1)
				if r := v.wait(ctx, waitingKey(i)); ctx.Err() == nil {
					v.told <- r
				}
			})
		}
		if err := quiet(ctx); err != nil {
			v.told <- failed(err)
			return
		}
		v.told <- &report{}
	}
}

// wait reports when the key's lock was granted, and gives it back.
func (v *waiter) wait(ctx context.Context, key string) *report {
	held, err := v.client.Lock(ctx, key)
	at := now()
	if err == nil {
		err = held.Release(ctx)
	}
	if err != nil {
		return failed(err)
	}
	return &report{At: int64(at), Key: key}
}

func (v *waiter) waitRaw(ctx context.Context) *report {
	_, err := v.raw.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(rawID))
	at := now()
	if err == nil {
		_, err = v.raw.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(rawID))
	}
	if err != nil {
		return failed(err)
	}
	return &report{At: int64(at)}
}
