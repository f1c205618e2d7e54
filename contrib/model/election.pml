/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who owns the next epoch of a shared pool: Disk Paxos over seats.
 *
 * Each claimant has a seat, a page that it alone writes, on each of three
 * devices (one of which it may not reach); it reads the seats of all.  A
 * ballot takes two rounds; in each the claimant writes its own seat to a
 * majority and reads all seats there:
 *
 *   1. "I work on ballot b".  If somebody works on a higher one: begin again
 *      with one above that.  Else the value of the highest ballot that was
 *      accepted by anybody must be taken; if there is none, one's own.
 *   2. "I accept value v in ballot b".  If somebody works on a higher one:
 *      begin again.  Else v is decided.
 *
 * Reads are of one seat at a time, in any order between the others' writes;
 * claimants stop for any time, or for ever.
 *
 * Proved for CLAIMANTS that begin at most BALLOTS ballots each: all that is
 * ever decided is one value.
 *
 * Mutants, each of which must fail (-D):
 *   NO_READ	the second round does not read
 *   OWN_VALUE	what others have accepted is not taken over
 *   READ_FIRST	the first round reads before it writes
 *   ONE_DEVICE	one device, any, is taken for a majority
 */
#ifndef CLAIMANTS
#define CLAIMANTS 2
#endif
#ifndef BALLOTS
#define BALLOTS 2
#endif
#define DEVICES 3
#define SEATS (DEVICES * CLAIMANTS)
#define NOBODY 0		/* values are claimant + 1 */

typedef seat {
	byte working;		/* ballot_seen */
	byte accepted;		/* ballot_accepted, and its value */
	byte value
}
seat seats[SEATS];
byte decided = NOBODY;

/* The seat of @who on @device, kept apart so that reads are one seat each. */
#define at(device, who) seats[(device) * CLAIMANTS + (who)]

#ifdef ONE_DEVICE
#define reaches(device) ((device) == skipped)
#else
#define reaches(device) ((device) != skipped)
#endif

inline write_seats()
{
	d = 0;
	do
	:: d < DEVICES ->
		if
		:: reaches(d) ->
			atomic {
				at(d, me).working = working;
				at(d, me).accepted = accepted;
				at(d, me).value = value
			}
		:: else
		fi;
		d++
	:: else -> break
	od;
	d = 0
}

/* Sets highest, best, best_value. */
inline read_seats()
{
	highest = 0; best = 0; best_value = NOBODY; d = 0;
	do
	:: d < SEATS ->
		atomic {
			if
			:: reaches(d / CLAIMANTS) &&
			   d % CLAIMANTS != me ->
				if
				:: seats[d].working > highest ->
					highest = seats[d].working
				:: else
				fi;
				if
				:: seats[d].accepted > best ->
					best = seats[d].accepted;
					best_value = seats[d].value
				:: else
				fi
			:: else
			fi;
			d++
		}
	:: else -> break
	od;
	d = 0
}

proctype claimant(byte me)
{
	byte ballot, working, accepted, value = NOBODY;
	byte highest, best, best_value, d, skipped, tries;

	/* One device is out of reach, another one for each. */
	select(skipped : 0 .. DEVICES - 1);
again:
	if
	:: tries == BALLOTS -> goto out
	:: tries < BALLOTS -> tries++
	:: tries < BALLOTS -> goto out		/* stops for ever */
	fi;
	/* Ballots of two claimants are never equal. */
	ballot = (highest / CLAIMANTS + 1) * CLAIMANTS + me;
	if
	:: ballot <= working -> ballot = working + CLAIMANTS
	:: else
	fi;
#ifdef READ_FIRST
	read_seats();
	working = ballot;
	write_seats();
#else
	working = ballot;
	write_seats();
	read_seats();
#endif
	if
	:: highest > ballot -> goto again
	:: else
	fi;
	if
#ifndef OWN_VALUE
	:: best > accepted -> value = best_value
	:: best <= accepted && accepted != 0	/* what it accepted itself */
	:: best <= accepted && accepted == 0 -> value = me + 1
#else
	:: true -> value = me + 1
#endif
	fi;
	accepted = ballot;
	write_seats();
#ifndef NO_READ
	read_seats();
	if
	:: highest > ballot -> goto again
	:: else
	fi;
#endif
	atomic {
		assert(decided == NOBODY || decided == value);
		decided = value
	}
out:	skip
}

init {
	byte i;

	atomic {
		do
		:: i < CLAIMANTS -> run claimant(i); i++
		:: else -> break
		od
	}
}
