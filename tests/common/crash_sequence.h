/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * All sequences of calls from a small alphabet, each behind the same setup,
 * crashed at each event of the last call: what comes before it is the last
 * call of a shorter sequence.
 */
#pragma once

#include "crash_story.h"

struct crash_alphabet {
	const char *name;
	const struct crash_op *setup;
	unsigned int setup_count;
	const struct crash_op *ops;
	unsigned int op_count;
	/* Calls that make durable what came before: longer sequences end in
	 * one of them. */
	const struct crash_op *ends;
	unsigned int end_count;
};

/*
 * @letters: only the first so many calls (0: all).  @one_in: a sample of the
 * sequences.  Prints a line; returns the number of failures.
 */
int crash_sequences(const struct crash_alphabet *a,
		    const struct crash_shape *shape, unsigned int length,
		    unsigned int letters, unsigned int one_in,
		    const struct crash_plan *plan);
/* The same with each of @a's ends behind, crashed in the last two calls. */
int crash_ended_sequences(const struct crash_alphabet *a,
			  const struct crash_shape *shape, unsigned int length,
			  unsigned int letters, unsigned int one_in,
			  const struct crash_plan *plan);
/* The plan of the environment: SEED, ONE_IN, and check-long. */
struct crash_plan crash_plan_default(void);
