/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sim_linear.h"

#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 2000000u
#define WORDS_MAX 64u /* of 64 accesses */

size_t sim_history_begin(struct sim_history *h, uint64_t now_ns, bool is_write,
			 uint64_t value, unsigned int who)
{
	if (h->count == h->room) {
		h->room = h->room ? 2 * h->room : 64;
		h->all = reallocarray(h->all, h->room, sizeof(*h->all));
		if (!h->all)
			abort();
	}
	h->all[h->count] = (struct sim_access){
		.begin_ns = now_ns,
		.end_ns = UINT64_MAX,
		.is_write = is_write,
		.value = value,
		.who = who,
	};
	return h->count++;
}

void sim_history_end(struct sim_history *h, size_t index, uint64_t now_ns,
		     uint64_t value)
{
	h->all[index].end_ns = now_ns;
	h->all[index].value = value;
}

void sim_history_done(struct sim_history *h)
{
	free(h->all);
	*h = (struct sim_history){ 0 };
}

/* ---- the search ---------------------------------------------------------- */

/* A state that was left for good: which accesses are placed, and the value. */
struct seen {
	uint64_t hash;
	uint64_t value;
	uint64_t placed[];
};

struct search {
	struct sim_access *all; /* by begin */
	size_t count, words;
	uint64_t *placed;
	uint64_t steps;
	struct seen **table;
	size_t table_room, table_count;
};

static bool is_placed(const struct search *s, size_t i)
{
	return s->placed[i / 64] >> i % 64 & 1;
}

static uint64_t state_hash(const struct search *s, uint64_t value)
{
	uint64_t h = value * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < s->words; i++)
		h = (h ^ s->placed[i] ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return h ^ h >> 32;
}

static void table_grow(struct search *s)
{
	struct seen **old = s->table;
	size_t room = s->table_room;

	s->table_room = room ? 2 * room : 1024;
	s->table = calloc(s->table_room, sizeof(*s->table));
	if (!s->table)
		abort();
	for (size_t i = 0; i < room; i++) {
		size_t at;

		if (!old[i])
			continue;
		at = old[i]->hash & (s->table_room - 1);
		while (s->table[at])
			at = (at + 1) & (s->table_room - 1);
		s->table[at] = old[i];
	}
	free(old);
}

/* True: it is new, and remembered from now on. */
static bool state_is_new(struct search *s, uint64_t value)
{
	uint64_t hash = state_hash(s, value);
	size_t bytes = s->words * sizeof(uint64_t), at;
	struct seen *seen;

	if (2 * s->table_count >= s->table_room)
		table_grow(s);
	for (at = hash & (s->table_room - 1); s->table[at];
	     at = (at + 1) & (s->table_room - 1))
		if (s->table[at]->hash == hash &&
		    s->table[at]->value == value &&
		    memcmp(s->table[at]->placed, s->placed, bytes) == 0)
			return false;
	seen = malloc(sizeof(*seen) + bytes);
	if (!seen)
		abort();
	seen->hash = hash;
	seen->value = value;
	memcpy(seen->placed, s->placed, bytes);
	s->table[at] = seen;
	s->table_count++;
	return true;
}

/* @first: all before it are placed. */
static enum sim_verdict place(struct search *s, size_t first, uint64_t value)
{
	uint64_t end_ns = UINT64_MAX;
	enum sim_verdict v;

	while (first < s->count && is_placed(s, first))
		first++;
	/* Whatever was acknowledged is placed: the rest may never have been. */
	for (size_t i = first; i < s->count; i++)
		if (!is_placed(s, i) && s->all[i].end_ns < end_ns)
			end_ns = s->all[i].end_ns;
	if (end_ns == UINT64_MAX)
		return SIM_LINEAR;
	if (++s->steps > STEPS_MAX)
		return SIM_NOT_KNOWN;
	if (!state_is_new(s, value))
		return SIM_NOT_LINEAR;
	for (size_t i = first; i < s->count; i++) {
		if (s->all[i].begin_ns > end_ns)
			break;
		if (is_placed(s, i) ||
		    (!s->all[i].is_write && s->all[i].value != value))
			continue;
		s->placed[i / 64] |= UINT64_C(1) << i % 64;
		v = place(s, first,
			  s->all[i].is_write ? s->all[i].value : value);
		s->placed[i / 64] &= ~(UINT64_C(1) << i % 64);
		if (v != SIM_NOT_LINEAR)
			return v;
		/* A read changes nothing: if it can be next, let it be. */
		if (!s->all[i].is_write)
			break;
	}
	return SIM_NOT_LINEAR;
}

static int compare_begin(const void *a, const void *b)
{
	const struct sim_access *x = a, *y = b;

	return (x->begin_ns > y->begin_ns) - (x->begin_ns < y->begin_ns);
}

static bool is_read_by_any(const struct sim_history *h, uint64_t value)
{
	for (size_t i = 0; i < h->count; i++)
		if (!h->all[i].is_write && h->all[i].end_ns != UINT64_MAX &&
		    h->all[i].value == value)
			return true;
	return false;
}

enum sim_verdict sim_history_judge(const struct sim_history *h)
{
	struct search s = { .count = 0 };
	enum sim_verdict v = SIM_NOT_KNOWN;

	s.all = calloc(h->count + 1, sizeof(*s.all));
	if (!s.all)
		abort();
	for (size_t i = 0; i < h->count; i++) {
		const struct sim_access *a = &h->all[i];

		/* Reads without an answer say nothing; a write that nobody
		 * heard of and nobody saw need not have been. */
		if (a->end_ns != UINT64_MAX ||
		    (a->is_write && is_read_by_any(h, a->value)))
			s.all[s.count++] = *a;
	}
	qsort(s.all, s.count, sizeof(*s.all), compare_begin);
	s.words = (s.count + 63) / 64;
	if (s.words <= WORDS_MAX) {
		s.placed = calloc(s.words + 1, sizeof(*s.placed));
		if (!s.placed)
			abort();
		v = place(&s, 0, 0);
	}
	for (size_t i = 0; i < s.table_room; i++)
		free(s.table[i]);
	free(s.table);
	free(s.placed);
	free(s.all);
	return v;
}
