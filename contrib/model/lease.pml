/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The timed lease of cfs: two clients want one exclusive lock, an owner grants
 * it, messages are lost, late and doubled, clocks drift, and the owner may die
 * and be followed by another.
 *
 * Time is counted in ticks of one true clock that nobody reads.  A local
 * period of n ticks lasts n - DRIFT or n + DRIFT true ones, the two ends of the
 * bound, which is chosen anew each time.  A client's period begins when it
 * sends; the owner's, which is longer by MARGIN, when it grants.  An access
 * lasts up to one tick, and is begun only if it ends in time.
 *
 * Proved for all that can happen within HORIZON ticks and so many requests of
 * each client: no two accesses at once, and no moment at which both clients
 * believe that they hold the lock.
 *
 * Mutants, each of which must fail (-D):
 *   RECEIPT	the client's period begins when the grant comes
 *   MARGIN=n	an owner's margin below 2 * DRIFT
 *   EARLY	the owner lets go at the end of its period, not behind it
 *   NO_WAIT	the owner grants to the next without waiting
 *   NO_GRACE	the owner that follows grants at once
 *   NO_EPOCH	a request that was meant for the dead owner counts
 *   NO_NONCE	any grant that comes is taken for the last one asked for
 *   LATE_RENEWAL	a renewal counts though another has the lock
 *   LONG_ACCESS	an access is begun whether it ends in time or not
 *   STALE_RECLAIM	a client reclaims what its own period no longer covers
 */
#ifndef DRIFT
#define DRIFT 1
#endif
#ifndef MARGIN
#define MARGIN 2
#endif
#ifndef HORIZON
#define HORIZON 9
#endif
#ifndef ASKS0
#define ASKS0 2		/* requests of the first client */
#endif
#ifndef ASKS1
#define ASKS1 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define PERIOD 2		/* of a client, local ticks */
#define NOBODY 2

mtype = { ask, release };

/* kind, nonce, generation held (0: none), epoch it is meant for */
chan to_owner[2] = [1] of { mtype, byte, byte, byte };
/* nonce, generation (0: refused) */
chan to_client[2] = [1] of { byte, byte };

byte now;
/* Clients: what each believes.  Ends are in true ticks, for the judge only:
 * a client compares its own clock, of which this is the outcome. */
byte gen[2], until[2];
bool busy[2];			/* an access is under way */
byte busy_until[2];
/* The owner: whom it has granted to, until when, and which owner it is. */
byte holder = NOBODY, ends, epoch = 1;

#define believes(i)	(gen[i] != 0 && now < until[i])

inline judge()
{
	assert(!(busy[0] && busy[1]));
	assert(!(believes(0) && believes(1)))
}

/* A local period of @n ticks from @from on: the true tick at which it ends. */
inline period(ret, from, n)
{
	if
	:: ret = from + n - DRIFT
	:: ret = from + n + DRIFT
	fi
}

/* A client that knows that its period is over. */
inline forget(i)
{
	if
#if !defined(STALE_RECLAIM) && !defined(LATE_RENEWAL)
	:: gen[i] != 0 && !busy[i] && now >= until[i] ->
		gen[i] = 0; until[i] = 0
#endif
	:: else
	fi
}

proctype clock()
{
end:	do
	:: atomic {
		now < HORIZON &&
		(!busy[0] || now < busy_until[0]) &&
		(!busy[1] || now < busy_until[1]) ->
		now++;
		judge();
		/* what has no meaning any more makes no new states */
		if
		:: holder != NOBODY && now > ends -> holder = NOBODY; ends = 0
		:: else
		fi;
		forget(0);
		forget(1)
	   }
	od
}

proctype client(byte me)
{
	byte asks, nonce, sent, known = 1;
	byte n, g, held;
	bool waits;

end:	do
	:: atomic {	/* ask, or renew: lost or not */
		!waits && asks < (me == 0 -> ASKS0 : ASKS1) ->
		asks++;
		nonce = asks;
		sent = now;
		waits = true;
		held = gen[me];
		if	/* it has said hello to the one who answers now, or not */
		:: known = epoch
		:: skip
		fi;
#if !defined(STALE_RECLAIM) && !defined(LATE_RENEWAL)
		if
		:: !believes(me) -> held = 0
		:: else
		fi;
#endif
		if
		:: nfull(to_owner[me]) -> to_owner[me]!ask, nonce, held, known
		:: skip
		fi;
		held = 0
	   }
	:: atomic {	/* an answer, perhaps an old one */
		to_client[me]?n, g ->
		if
#ifdef NO_NONCE
		:: waits ->
#else
		:: waits && n == nonce ->
#endif
			waits = false;
			if
			:: g != 0 ->
				gen[me] = g;
#ifdef RECEIPT
				period(until[me], now, PERIOD)
#else
				period(until[me], sent, PERIOD)
#endif
			:: else
			fi;
			sent = 0
		:: else
		fi;
		n = 0; g = 0;
		judge()
	   }
	:: atomic {	/* nothing came: give up waiting */
		waits -> waits = false; sent = 0
	   }
	:: atomic {	/* begin an access */
#ifdef LONG_ACCESS
		!busy[me] && believes(me) ->
#else
		!busy[me] && gen[me] != 0 && now + 1 <= until[me] ->
#endif
		busy[me] = true;
#ifdef LONG_ACCESS
		busy_until[me] = now + 3;
#else
		busy_until[me] = now + 1;
#endif
		judge()
	   }
	:: atomic {	/* it has ended */
		busy[me] -> busy[me] = false; busy_until[me] = 0
	   }
	:: atomic {	/* give the lock back; said or lost */
		gen[me] != 0 && !busy[me] && !waits ->
		if
		:: nfull(to_owner[me]) -> to_owner[me]!release, 0, gen[me], known
		:: skip
		fi;
		gen[me] = 0; until[me] = 0
	   }
	od
}

proctype owner()
{
	mtype kind;
	byte who, nonce, held, e;
	byte last, crashes, grace;
	byte answer;

end:	do
	:: atomic {
		if	/* taken out, or left to come once more */
		:: to_owner[0]?kind, nonce, held, e; who = 0
		:: to_owner[0]?<kind, nonce, held, e>; who = 0
		:: to_owner[1]?kind, nonce, held, e; who = 1
		:: to_owner[1]?<kind, nonce, held, e>; who = 1
		fi;
		answer = 0;
#define in_grace (grace != 0 && now <= grace)
		if
#ifndef NO_EPOCH
		:: e != epoch		/* it was meant for another */
#endif
#ifdef NO_EPOCH
#define meant true
#else
#define meant (e == epoch)
#endif
		:: meant && kind == release && holder == who && held == last ->
			holder = NOBODY
		:: meant && kind == release && !(holder == who && held == last)
		:: meant && kind == ask ->
			if
			:: holder == who && now <= ends ->
				answer = last		/* a renewal */
			:: holder != NOBODY && holder != who && now <= ends ->
#ifdef LATE_RENEWAL
				answer = held
#elif defined(NO_WAIT)
				last++; answer = last
#elif defined(EARLY)
				if
				:: now == ends -> last++; answer = last
				:: else
				fi
#else
				skip			/* must wait */
#endif
			:: (holder == NOBODY || now > ends) && in_grace &&
			   held != 0 ->
				/* what the dead owner had granted */
				if
				:: held > last -> last = held
				:: else
				fi;
				answer = last
			:: (holder == NOBODY || now > ends) && in_grace &&
			   held == 0			/* not yet */
			:: (holder == NOBODY || now > ends) && !in_grace ->
				last++; answer = last
			fi;
			if
			:: answer != 0 ->
				holder = who;
				period(ends, now, PERIOD + MARGIN)
			:: else
			fi
		fi;
		if	/* the answer: lost, or late, or replacing one */
		:: kind == ask ->
			if
			:: empty(to_client[who]) ->
				to_client[who]!nonce, answer
			:: skip
			fi
		:: else
		fi;
		who = 0; nonce = 0; held = 0; e = 0; answer = 0; kind = ask
	   }
	:: atomic {	/* dies; another follows that knows no locks */
		crashes < CRASHES ->
		crashes++;
		epoch++;
		holder = NOBODY;
		ends = 0;
#ifndef NO_GRACE
		period(grace, now, PERIOD + MARGIN)
#endif
	   }
	od
}

init {
	atomic {
		run clock();
		run client(0);
		run client(1);
		run owner()
	}
}
