package manager

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// Once runs f in one of all the processes that call it for the key in the same period: for a job that every replica starts by its
// own clock. Periods are counted in UTC, as [time.Time.Truncate] does: with 24 hours one begins at each midnight. The first caller
// runs f under the lock of the key and the period, as Do would; this lock stays at the server until the period is over on every
// clock, that is until its end plus the time of [WithClockSkew]. All other callers get [ErrAlreadyRun] as soon as the server or this process knows of
// the lock, whether f runs still or has returned, well or not; the error names who holds the lock, where that is known. [PeriodOf] tells f for which period it runs.
//
// The lock is in the holder's session, and nothing is written down. Where the holder's process or session ends, or its manager is
// closed, before the period is over, the next caller in the period runs f again. Where f must not run twice even then, it
// has to write down itself, in the transaction of its work, that it has run.
func (m *Manager) Once(ctx context.Context, key string, period time.Duration, f func(ctx context.Context) error, opts ...AcquireOption) error {
	now := m.config.now()
	begin := now.Truncate(period)
	if key != "" { // else it is refused
		key += "@" + begin.UTC().Format(time.RFC3339Nano)
	}
	k := m.Key(key)
	if period <= 0 {
		return k.refused(fmt.Errorf("the period of Once is %v: it must be positive", period), 0)
	}
	if o := collect(opts); o.token {
		return k.refused(errors.New("WithToken is not for Once: no two periods have one key"), 0)
	}
	if f == nil {
		return k.refused(errNoFunction, 0)
	}
	started := time.Now()
	keep := sum(begin.Add(period).Sub(now), m.config.clockSkew)
	opts = append(slices.Clip(opts), func(o *acquireOptions) { o.minHold = max(o.minHold, keep); o.unfenced = true })
	for pause := confirmSoonest; ; pause = min(2*pause, confirmLatest) {
		ran := false
		err := k.do(ctx, actor.Terms{Try: true, Hold: actor.HoldForWork}, func(ctx context.Context) error {
			ran = true
			return f(context.WithValue(ctx, periodKey{}, begin))
		}, opts)
		var refused *AcquireError
		if ran || !errors.As(err, &refused) || refused.Reason != ErrNotAcquired { //nolint:errorlint // that very value
			return err
		}
		if refused.Attempts > 0 || refused.Holder != nil {
			refused.Reason = ErrAlreadyRun
			if refused.Holder == nil {
				refused.Holder, _ = m.holderOf(ctx, refused.ID)
			}
			return err
		}
		// Another caller in this process is asking the server, and may fail: then nobody has run.
		if err := m.pause(ctx, pause); err != nil {
			return k.refused(err, time.Since(started))
		}
	}
}

// sum is the sum of two durations that are not negative, and the longest that there is where that is longer: three hundred years.
func sum(a, b time.Duration) time.Duration {
	if s := a + b; s >= a {
		return s
	}
	return math.MaxInt64
}

type periodKey struct{}

// PeriodOf is the beginning of the period that the function of [Manager.Once] runs for, which has this context. ok is false elsewhere.
func PeriodOf(ctx context.Context) (begin time.Time, ok bool) {
	begin, ok = ctx.Value(periodKey{}).(time.Time)
	return begin, ok
}
