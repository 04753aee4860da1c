package chaos

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
)

const (
	pulseEvery = 50 * time.Millisecond
	pulseBound = 10 * time.Second
	// leastStall is what counts as one.
	leastStall = 100 * time.Millisecond
)

// pulse asks the primary all the time, and tells the book when it gave no answer, or when this process itself did not get
// on: then the machine is busy elsewhere, unless a fault was made.
func pulse(ctx context.Context, s *stage.Stage, book *history.Book) {
	var conn *pgx.Conn
	hangUp := func() {
		if conn != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = conn.Close(ctx)
			<-conn.PgConn().CleanupDone()
			conn = nil
		}
	}
	defer hangUp()
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for last := event.Now(); ; last = event.Now() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if conn == nil {
			primary, _ := s.Primary()
			conn, _ = pgx.Connect(ctx, primary.DSN()+"&application_name=lockkeeper-pulse&connect_timeout=10")
			last = event.Now() // a connection takes its time
		}
		if conn == nil {
			continue
		}
		bound, cancel := context.WithTimeout(ctx, pulseBound)
		_, err := conn.Exec(bound, "SELECT 1")
		cancel()
		if now := event.Now(); now-last > int64(leastStall) {
			book.Add([]event.Record{{Kind: event.Stalled, Call: last, Return: now}})
		}
		if err != nil {
			hangUp()
		}
	}
}
