/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Is a history of one register linearizable?  The search of Wing and Gong
 * with Lowe's memory of what was tried: some operation that began before all
 * that are not placed yet ended comes next; reads must show the last write
 * placed.
 *
 * A write that was never acknowledged may have happened at any time behind
 * its begin, or never.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_access {
	uint64_t begin_ns;
	uint64_t end_ns; /* UINT64_MAX: never acknowledged */
	bool is_write;
	uint64_t value;   /* of a write: used once, not 0 */
	unsigned int who; /* for messages */
};

struct sim_history {
	struct sim_access *all;
	size_t count, room;
};

/* Returns its index.  An access that is not ended counts as never answered. */
size_t sim_history_begin(struct sim_history *h, uint64_t now_ns, bool is_write,
			 uint64_t value, unsigned int who);
void sim_history_end(struct sim_history *h, size_t index, uint64_t now_ns,
		     uint64_t value);
void sim_history_done(struct sim_history *h);

enum sim_verdict {
	SIM_LINEAR,
	SIM_NOT_LINEAR,
	SIM_NOT_KNOWN, /* more than the search's bound */
};

/* The register is 0 first. */
enum sim_verdict sim_history_judge(const struct sim_history *h);
