/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers that another process than the holder of the pool serves: who asks
 * the holder about one is refused with -EREMOTE, and then asks that process,
 * over a session of its own that is hidden in the first.
 *
 * Calls are tried where the volume was last; behind -EREMOTE the holder is
 * asked who serves it.  One that does not answer may be dead: it is tried
 * again, and the holder asked, for as long as the session's options say.
 *
 * Thread safety: as the session.
 */
#pragma once

#include "session/delegate_msg.h"
#include "session/session.h"

struct cfs_refer; /* the sessions; a list */

/* One call, tried here and there. */
struct cfs_refer_try {
	struct cfs_session *s, *at;
	const char *volume; /* "NAME" or "NAME/..."; or NULL and */
	uint64_t container;
	uint64_t end_ns;
	unsigned int count;
};
struct cfs_refer_try cfs_refer_begin(struct cfs_session *s, const char *volume,
				     uint64_t container);
/* @code: of the call at t->at.  True: try again, at t->at; else *ret is what
 * there is to return, with @err. */
bool cfs_refer_again(struct cfs_refer_try *t, int code, int *ret,
		     struct cfs_err *err);

/* Do @call, an expression with the session AT in it, where VOLUME is. */
#define CFS_REFER(S, VOLUME, CONTAINER, AT, ERR, CALL)                         \
	__extension__({                                                        \
		struct cfs_refer_try t_ = cfs_refer_begin(S, VOLUME,           \
							  CONTAINER);          \
		struct cfs_session *AT;                                        \
		int ret_ = 0;                                                  \
		do {                                                           \
			AT = t_.at;                                            \
		} while (cfs_refer_again(&t_, (CALL), &ret_, ERR));            \
		ret_;                                                          \
	})

/* Who has what, as the holder of the pool says.  To be freed with
 * cfs_vec_done(&ret->v). */
int cfs_refer_list(struct cfs_session *s, struct cfs_delegate_entries *ret,
		   struct cfs_err *err);
/* Call @fn for each container that is held elsewhere, at a session of it. */
typedef int (*cfs_refer_fn)(void *arg, struct cfs_session *at,
			    const char *container, struct cfs_err *err);
int cfs_refer_each(struct cfs_session *s, cfs_refer_fn fn, void *arg,
		   struct cfs_err *err);

/* All are closed; the first failure.  NULL is allowed. */
int cfs_refer_close(struct cfs_refer *refers, struct cfs_err *err);
void cfs_refer_free(struct cfs_refer *refers); /* drops errors */
