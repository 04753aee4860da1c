package actor

import "time"

// alarm is a keeper's one timer. It fires when the machine has something due, or when the key has been idle for the idle
// timeout. It may fire early: whoever looks sees that nothing is due. The keeper owns it. (Its timer sends a request: a timer's own
// channel in the keeper's select would cost every message a third more, measured.)
type alarm struct {
	timer *time.Timer // nil until it is first needed
	at    time.Time   // when it fires; zero where nobody waits for it
	idle  bool        // at is the end of the idle time, which began when the keeper had received as many claims as seen
	seen  uint32
}

func (k *keeper) alarmAt(at time.Time, idle bool) {
	a := &k.alarm
	a.at, a.idle = at, idle
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(at), k.ring)
		return
	}
	a.timer.Reset(time.Until(at))
}

// ring runs on a goroutine of the timer's.
func (k *keeper) ring() {
	select {
	case k.requests <- due{}:
	case <-k.done:
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// setAlarm follows what the machine has due. Where it has nothing, an idle time begins as the key becomes idle; one that has
// begun is not touched by the uses after, so that a busy key sets no timer.
func (k *keeper) setAlarm() {
	a := &k.alarm
	if at := k.machine.nextDue(); !at.IsZero() {
		if a.idle || !at.Equal(a.at) {
			k.alarmAt(at, false)
		}
		return
	}
	if (a.at.IsZero() || !a.idle) && k.unused() {
		a.seen = k.uses
		k.alarmAt(time.Now().Add(k.supervisor.config.IdleTimeout), true)
	}
}

// rung: the timer has fired, and the machine has nothing due.
func (k *keeper) rung() {
	idle := k.alarm.idle
	k.alarm.at, k.alarm.idle = time.Time{}, false
	if idle && k.unused() && k.uses == k.alarm.seen {
		k.retire = true
		return
	}
	k.setAlarm()
}

// unused reports whether the key has no claim, and nothing at the server.
func (k *keeper) unused() bool {
	return k.server.idle() && k.machine.queue.head == nil && k.machine.holders.n == 0
}
