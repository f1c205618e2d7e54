/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A writer that does not know that it is dead, and its successor: what makes
 * late writes harmless without any clock.
 *
 * One key is written again and again.  Each write goes to a fresh block and
 * is named by a frame in the writer's own log; both reach the device in any
 * order, at any time, or when a flush waits for them.  A commit writes a root,
 * which lets the log begin anew and frees the blocks of older values.  The
 * first writer goes on for as long as it likes.  At any moment the successor
 * sets the gravestone in the first one's log, reads that log to its end,
 * adopts what it finds in place, and goes on in groups that are not lent.
 *
 * Proved for WRITES of the first writer and two of the successor: every
 * acknowledged value is found by the successor, and what the successor's map
 * names is never changed.
 *
 * Mutants, each of which must fail (-D):
 *   REUSE	a block is written again within one loan
 *   NO_LOOK_FREE	the gravestone is not read before freed blocks are reused
 *   NO_LOOK_WIDEN	nor before a new group is written
 *   WIDEN_LATE	a group is written before its loan is durable
 *   NO_GRAVE	the successor sets no gravestone
 *   READ_FIRST	it reads the log before it sets the gravestone
 *   USE_FROZEN	it allocates in a group that was on loan
 *   NO_VERIFY	it takes the last frame without a look at its data
 */
#ifndef WRITES
#define WRITES 3
#endif
#define GROUP 2			/* blocks of a group */
#define GROUPS 3
#define BLOCKS (GROUPS * GROUP)
#define NONE 15

/* On the device. */
byte content[BLOCKS];		/* a value; 0: nothing yet */
byte frame_value[WRITES + 1], frame_block[WRITES + 1];	/* by number, from 1 */
byte root_value, root_block = NONE, root_frame;	/* of the first writer */
bool lent[GROUPS];		/* loans of the first writer, durable */
bool grave;

/* On their way, of the first writer: one block, one frame. */
byte late_block = NONE, late_value, late_frame;

byte acknowledged;
bool serves;			/* the successor */
byte now_value, now_block = NONE;	/* what its map names */

inline judge()
{
	assert(!serves || now_block == NONE ||
	       content[now_block] == now_value)
}

proctype device()
{
end:	do
	:: atomic {
		late_block != NONE ->
		content[late_block] = late_value;
		late_block = NONE; late_value = 0;
		judge()
	   }
	:: atomic {
		late_frame != 0 && (late_frame & 15) != NONE ->
		frame_value[late_frame >> 4] = late_frame >> 4;
		frame_block[late_frame >> 4] = late_frame & 15;
		late_frame = 0
	   }
	od
}

#define flushed (late_block == NONE && late_frame == 0)

proctype first()
{
	bool used[BLOCKS], open[GROUPS];
	byte v, b, last = NONE, g;

	open[0] = true;
	do
	:: v < WRITES ->
		/* a block of an open group that was not written in this loan */
		atomic {
			b = 0;
			do
			:: b < BLOCKS && open[b / GROUP] && !used[b] -> break
			:: b < BLOCKS - 1 -> b++
			:: b == BLOCKS - 1 -> b = NONE; break
			od;
		}
		if
		:: atomic {
			b != NONE ->
			v++;
			used[b] = true;
			late_block = b; late_value = v;
			late_frame = v << 4 | b
		   }
		   flushed;
		   /* in time, or not at all: by a period that still runs */
		   atomic {
			if
			:: !grave -> acknowledged = v
			:: else
			fi;
#ifdef REUSE
			if
			:: last != NONE -> used[last] = false
			:: else
			fi;
#endif
			last = b
		   }
		:: b == NONE -> break
		fi
	:: v > 0 && last != NONE ->	/* commit */
		atomic {
			root_value = v; root_block = last; root_frame = v
		}
#ifndef NO_LOOK_FREE
		if
		:: grave -> break
		:: !grave
		fi;
#endif
		/* a new loan of the group: all but what the root names */
		atomic {
			b = 0;
			do
			:: b < BLOCKS ->
				used[b] = (b == last);
				b++
			:: else -> break
			od;
			b = 0
		}
	:: !open[1] ->			/* widen */
#ifdef WIDEN_LATE
		open[1] = true;
#else
		lent[1] = true;
#ifndef NO_LOOK_WIDEN
		if
		:: grave -> break
		:: !grave
		fi;
#endif
		open[1] = true
#endif
	:: break
	od
}

#ifdef NO_VERIFY
#define verifies(n) true
#else
#define verifies(n) (content[frame_block[n]] == (n))
#endif

proctype second()
{
	byte n, b, v, writes;
	bool taken[GROUPS];

#ifdef READ_FIRST
	goto look;
set:	grave = true;
	goto go;
#else
#ifndef NO_GRAVE
	grave = true;
#endif
#endif
look:	/* the root, then the frames behind it, one after the other */
	atomic {
		v = root_value; b = root_block; n = root_frame + 1
	}
	do
	:: atomic {
		n <= WRITES && frame_value[n] == n && verifies(n) ->
		v = n; b = frame_block[n]; n++
	   }
	:: else -> break
	od;
#ifdef READ_FIRST
	goto set;
#endif
go:	atomic {	/* loans are read behind the gravestone, as the log is */
		n = 0;
		do
		:: n < GROUPS -> taken[n] = lent[n]; n++
		:: else -> break
		od;
		n = 0;
		now_value = v; now_block = b;
		serves = true;
		assert(now_value >= acknowledged);
		judge()
	}
	do
	:: writes < 2 ->
		writes++;
		atomic {	/* a fresh block in a group that is not lent */
			n = 0;
			do
#ifdef USE_FROZEN
			:: n < BLOCKS && n != now_block -> break
#else
			:: n < BLOCKS && !taken[n / GROUP] &&
			   n != now_block -> break
#endif
			:: n < BLOCKS - 1 -> n++
			:: n == BLOCKS - 1 -> break
			od;
#ifndef USE_FROZEN
			if
			:: taken[n / GROUP] || n == now_block -> n = NONE
			:: else
			fi;
#endif
			if
			:: n != NONE ->
				content[n] = 8 + writes;
				now_value = 8 + writes;
				now_block = n
			:: else
			fi;
			judge()
		}
	:: break
	od
}

init {
	atomic {
		lent[0] = true;
		run device();
		run first();
		run second()
	}
}
