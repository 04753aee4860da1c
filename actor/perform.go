package actor

import "time"

// carryOut does what the machine wants done, in order.
func (k *keeper) carryOut(effects []effect) {
	for i := range effects {
		fx := &effects[i]
		if k.supervisor.config.Hook != nil {
			k.hook(fx.kind.String())
		}
		k.server = fx.server
		k.perform(fx)
	}
}

func (k *keeper) perform(fx *effect) {
	counters := &k.supervisor.Counters
	switch fx.kind {
	case fxTry, fxTryOwn, fxWait, fxPoll:
		counters.Attempts.Add(1)
		k.request(fx)
	case fxUnlock:
		k.link.Unlock(fx.hint)
	case fxReserve:
		k.link.Reserve(fx.server.dedicated, fx.claim.Try)
	case fxWithdraw:
		k.link.Withdraw()
	case fxStopPolling:
		k.link.StopPolling()
	case fxReturn:
		k.link.Return()
	case fxPace:
		k.link.Pace(k.machine.hinted())
	case fxTell:
		k.link.Tell(fx.hint)
	case fxAsk:
		k.link.Ask()
	case fxAskPause:
		fx.claim.askedPause = true
		fx.claim.reply <- AskPause
	case fxGrant:
		fx.claim.Session = k.link.Session()
		counters.grant(fx.claim.Local)
		if !fx.claim.Local && k.machine.cameLate() {
			counters.LateGrants.Add(1)
		}
		fx.claim.decide(nil)
	case fxRefuse:
		fx.claim.Holder = k.knownHolder()
		counters.refusals.Add(1)
		fx.claim.decide(fx.err)
	case fxNotify:
		fx.claim.Owner.HoldEnds(fx.err, k.machine.now)
	case fxOver:
		counters.over()
		fx.claim.end(fx.err, k.machine.now)
	case fxSettle:
		fx.claim.settle(fx.err)
	case fxExit:
		k.retire = true
	default:
		panic("BUG: unknown effect " + fx.kind.String())
	}
}

func (k *keeper) request(fx *effect) {
	switch shared := fx.server.shared; fx.kind {
	case fxTry:
		k.link.Try(shared)
	case fxTryOwn:
		k.link.TryOwn(shared)
	case fxWait:
		k.link.Wait(shared)
	default:
		k.link.Poll(shared, fx.hint != nil, k.machine.hinted())
	}
}

// knownHolder is who holds the lock, as far as the keeper knows.
func (k *keeper) knownHolder() *Holder {
	c := k.machine.holders.head
	if c == nil {
		c = k.machine.kept
	}
	if c == nil {
		return k.machine.remote
	}
	return &Holder{Local: true, PID: c.Session.PID(), Since: c.Granted, Seen: time.Now()}
}

// hook calls the test's function, which may panic as a keeper with a bug would.
func (k *keeper) hook(step string) { k.supervisor.config.Hook(k.id, step) }
