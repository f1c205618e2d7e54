// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The judge of histories, judged: crafted ones of which the answer is known,
 * and random ones against a search that remembers nothing.
 */
#include "sim_engine.h"
#include "sim_linear.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NEVER    UINT64_MAX

struct crafted {
	const char *name;
	bool is_good;
	struct sim_access all[8];
};

/* begin, end, is_write, value */
static const struct crafted crafted[] = {
	{ "nothing", true, { { 0 } } },
	{ "a read of the first value", true, { { 1, 2, false, 0, 0 } } },
	{ "a read of what nobody wrote", false, { { 1, 2, false, 7, 0 } } },
	{ "write, then read",
	  true,
	  { { 1, 2, true, 1, 0 }, { 3, 4, false, 1, 1 } } },
	{ "stale read",
	  false,
	  { { 1, 2, true, 1, 0 }, { 3, 4, false, 0, 1 } } },
	{ "a read beside the write shows the old value",
	  true,
	  { { 1, 9, true, 1, 0 }, { 3, 4, false, 0, 1 } } },
	{ "a read beside the write shows the new value",
	  true,
	  { { 1, 9, true, 1, 0 }, { 3, 4, false, 1, 1 } } },
	{ "new, then old, beside one write",
	  false,
	  { { 1, 9, true, 1, 0 },
	    { 2, 3, false, 1, 1 },
	    { 4, 5, false, 0, 2 } } },
	{ "a read from the future",
	  false,
	  { { 1, 2, false, 1, 1 }, { 3, 4, true, 1, 0 } } },
	{ "an acknowledged write is lost",
	  false,
	  { { 1, 2, true, 1, 0 },
	    { 3, 4, true, 2, 0 },
	    { 5, 6, false, 1, 1 } } },
	{ "two writes at once, two readers agree",
	  true,
	  { { 1, 4, true, 1, 0 },
	    { 1, 4, true, 2, 1 },
	    { 5, 6, false, 1, 2 },
	    { 7, 8, false, 1, 3 } } },
	{ "two writes at once, two readers differ",
	  false,
	  { { 1, 4, true, 1, 0 },
	    { 1, 4, true, 2, 1 },
	    { 5, 6, false, 1, 2 },
	    { 7, 8, false, 2, 3 } } },
	{ "a write without an answer happens late",
	  true,
	  { { 1, NEVER, true, 1, 0 },
	    { 3, 4, false, 0, 1 },
	    { 5, 6, false, 1, 1 } } },
	{ "a write without an answer never happens",
	  true,
	  { { 1, NEVER, true, 1, 0 },
	    { 3, 4, true, 2, 1 },
	    { 5, 6, false, 2, 1 } } },
	{ "a late write lands on an acknowledged one, and goes",
	  false,
	  { { 1, NEVER, true, 1, 0 },
	    { 3, 4, true, 2, 1 },
	    { 5, 6, false, 1, 1 },
	    { 7, 8, false, 2, 1 } } },
	{ "a write without an answer is seen before it begins",
	  false,
	  { { 1, 2, false, 1, 1 }, { 3, NEVER, true, 1, 0 } } },
};

static void history_of(const struct sim_access *all, size_t count,
		       struct sim_history *ret)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = sim_history_begin(ret, all[i].begin_ns,
					      all[i].is_write, all[i].value,
					      all[i].who);

		ret->all[at].end_ns = all[i].end_ns;
	}
}

static bool crafted_is_right(const struct crafted *c)
{
	struct sim_history h = { 0 };
	size_t count = 0;
	enum sim_verdict v;

	while (count < COUNT(c->all) && c->all[count].begin_ns)
		count++;
	history_of(c->all, count, &h);
	v = sim_history_judge(&h);
	sim_history_done(&h);
	return v == (c->is_good ? SIM_LINEAR : SIM_NOT_LINEAR);
}

/* All orders, one by one. */
static bool plain_search(const struct sim_access *all, size_t count,
			 unsigned int placed, uint64_t value)
{
	uint64_t end_ns = NEVER;

	for (size_t i = 0; i < count; i++)
		if (!(placed >> i & 1) && all[i].end_ns < end_ns)
			end_ns = all[i].end_ns;
	if (end_ns == NEVER)
		return true;
	for (size_t i = 0; i < count; i++) {
		if (placed >> i & 1 || all[i].begin_ns > end_ns ||
		    (!all[i].is_write &&
		     (all[i].value != value || all[i].end_ns == NEVER)))
			continue;
		if (plain_search(all, count, placed | 1u << i,
				 all[i].is_write ? all[i].value : value))
			return true;
	}
	return false;
}

static bool random_agrees(uint64_t seed, unsigned int *good)
{
	struct sim sim = { .seed = seed };
	struct sim_access all[7];
	struct sim_history h = { 0 };
	size_t count = 2 + seed % 6;
	enum sim_verdict v;
	bool is_good;

	cfs_rng_init(&sim.rng, seed);
	for (size_t i = 0; i < count; i++) {
		all[i].begin_ns = 1 + sim_below(&sim, 12);
		all[i].end_ns = all[i].begin_ns + 1 + sim_below(&sim, 5);
		all[i].is_write = sim_below(&sim, 2);
		all[i].value = all[i].is_write ? i + 1
					       : sim_below(&sim, count + 1);
		all[i].who = (unsigned int)i;
		if (sim_one_in(&sim, 4))
			all[i].end_ns = NEVER;
	}
	is_good = plain_search(all, count, 0, 0);
	history_of(all, count, &h);
	v = sim_history_judge(&h);
	sim_history_done(&h);
	*good += is_good;
	return v == (is_good ? SIM_LINEAR : SIM_NOT_LINEAR);
}

int main(void)
{
	unsigned int count = 0, good = 0, wrong = 0, rounds = 20000;
	int status = 0;

	for (size_t i = 0; i < COUNT(crafted); i++) {
		bool is_ok = crafted_is_right(&crafted[i]);

		status |= !is_ok;
		printf("%sok %u - linear: %s\n", is_ok ? "" : "not ", ++count,
		       crafted[i].name);
	}
	for (unsigned int seed = 1; seed <= rounds; seed++)
		wrong += !random_agrees(seed, &good);
	/* Both kinds have to be among them. */
	status |= wrong || good < rounds / 50 || good > rounds - rounds / 50;
	printf("%sok %u - linear: %u random histories, %u of them good, %u "
	       "judged wrongly\n",
	       wrong ? "not " : "", ++count, rounds, good, wrong);
	printf("1..%u\n", count);
	return status;
}
