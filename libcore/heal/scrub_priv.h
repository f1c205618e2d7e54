/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the scrub share. */
#pragma once

#include "base/clock.h"
#include "base/vec.h"
#include "heal/bad_priv.h"
#include "heal/scrub.h"
#include "heal/tags_priv.h"
#include "heal/trace_priv.h"
#include "tree/repair.h"

/* A block that did not verify, and no other piece has it. */
struct scrub_bad {
	uint64_t vaddr;
	uint32_t piece_mask;
	uint32_t cause;     /* CFS_BAD_* */
	struct cfs_tag tag; /* as its page has it */
	bool is_healed;
};

/* A group without a page to believe, or with blocks in use without a tag. */
struct scrub_group {
	uint64_t lslice;
	uint32_t group;
	uint64_t seq; /* the highest that was seen */
};

struct scrub {
	struct cfs_pool *pool;
	const struct cfs_scrub_options *opt;
	const struct cfs_scrub_calls *calls;
	struct cfs_scrub_result *result;
	struct cfs_clock *clock;
	struct tracer *tracer;
	struct cfs_err *err;

	/* Of the container under way. */
	struct cfs_container *c;
	struct cfs_member *m; /* NULL: the pool's own */
	struct cfs_metavolume *mv;
	const struct cfs_slice_geometry *geo;
	bool heals;
	struct cfs_scrub_rec rec;
	CFS_VEC(struct scrub_bad) bad;
	CFS_VEC(struct scrub_group) groups;
	uint64_t from; /* vaddrs from here on were looked at */

	uint64_t done_bytes, total_bytes;
	uint64_t began_ns; /* of elapsed time */
	uint64_t owed_ns;  /* that the reads so far were to take */
	uint64_t saved_ns;
};

/* scrub.c */
/* So many bytes were read: progress, the rate, and whether to stop. */
int cfs_scrub_account(struct scrub *s, uint64_t bytes);
/* A bad place, counted and told. */
int cfs_scrub_tell(struct scrub *s, const struct trace_place *place);
/* The same for a piece of an address of the container. */
int cfs_scrub_tell_piece(struct scrub *s, const char *kind, uint32_t cause,
			 uint64_t vaddr, unsigned int piece,
			 const struct cfs_tag *tag, bool is_healed);
/* Where we are: kept every few seconds. */
int cfs_scrub_save(struct scrub *s, uint64_t lslice, uint32_t block,
		   bool at_once);

/* scrub_slice.c: one slice from @block on; 0 is all of it. */
int cfs_scrub_slice(struct scrub *s, uint64_t lslice, uint32_t block);
int cfs_scrub_roots(struct scrub *s);

/* scrub_slots.c */
/* May a client that lives be writing the tag page of this group?  The lock is
 * held. */
bool cfs_scrub_is_written(struct scrub *s, uint64_t lslice, uint32_t group);
int cfs_scrub_tag_pages(struct scrub *s, const struct tag_area *area);

/* scrub_resolve.c: what other pieces did not have. */
int cfs_scrub_resolve(struct scrub *s);
/* The bad-block table up to @to. */
int cfs_scrub_keep_bad(struct scrub *s, uint64_t to);

/* scrub_garbage.c: behind a whole pass; -EINTR: stopped. */
int cfs_scrub_garbage(struct scrub *s);
