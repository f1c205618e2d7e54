/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container in client mode: a process that is not its owner reads and writes
 * it on the devices themselves, with the same code, and gives what it did back
 * to the owner in folds.  The owner's side is tree/lend.h.
 *
 *   view    Roots of the trees TABLE, LIVE and HISTORY as of a commit of the
 *           owner, the slice map, and a range of stamps that nobody else will
 *           use.  Nodes are read from the devices and verified by the refs;
 *           changes are dirty nodes in memory on top of them.
 *   space   Groups lent by the owner, durably, before we hear of them: which
 *           blocks of each may be written.  A block is given one content in a
 *           loan, whatever becomes of the operation.  Nothing is ever freed
 *           here: the owner frees what a fold supersedes.  Inode numbers are
 *           lent in ranges likewise.
 *   log     In blocks that the owner set aside for this client.  A sync is one
 *           frame and one flush, as the owner's own.
 *   fold    Takes the place of a commit.  Nodes are never written here.
 *
 *        1. dirty pages and tag pages go home, into lent blocks; flush
 *                              -> the log still has all that was synced
 *        2. the records since the last fold, those of the pages too, go to the
 *           owner, with the position of the log's head and the groups that are
 *           used up.  If they are many, they were written with 1, into lent
 *           blocks that nothing else will use, and the owner is told where
 *        3. the owner checks all, applies all, commits; or refuses all
 *        4. the reply is a new view: the dirty nodes are dropped, the log is
 *           empty, stamps go on in the new range.  With it come groups for as
 *           much as was written since the last fold, so that who writes much
 *           need not ask for them
 *
 *   death   Whoever seals us sets our gravestone, reads the log from the last
 *           folded position to its end, and applies it.  What we write behind
 *           that is seen by nobody.  Our groups stay frozen until we are known
 *           to be gone: a process that stood still may write for as long as it
 *           likes.
 *
 * What must stay true:
 *
 *  C1 A record is folded before the view that has it is used, never twice: a
 *     fold has a number, and the owner stores the last one that it took in the
 *     same commit.  One that was sent again is answered, not applied.
 *  C2 All births of one view are in its range of stamps.  Ranges rise with the
 *     owner's stamp, so whoever gets a key after us, with a view behind our
 *     fold, is newer; and a snapshot taken behind our fold sees all of it.
 *     Whoever takes a snapshot makes all clients fold and hold first: one that
 *     holds begins no operation before it has a new view.  The owner refuses
 *     to take a snapshot beside a client that does not hold.
 *  C3 A block has its tag, durably, before the owner names it.
 *  C4 What is read through an old view may have been reused: a node or block
 *     that does not verify is -EAGAIN here, not damage.  The caller asks
 *     cfs_container_client_again, which folds and gets a new view, and does the
 *     operation again; what fails in the new view too is -EUCLEAN.  The owner
 *     keeps what the views of living clients name, so this is rare.
 *  C5 A failed fold closes the container for writing, as a failed commit does:
 *     what was synced is in the log, and the owner has it or will read it.
 *
 * Thread safety: as tree/container.h; the calls of a source are made with the
 * container's lock held, one at a time.
 */
#pragma once

#include "base/buf.h"
#include "ondisk/client.h"
#include "tree/container_open.h"

#define CFS_CLIENT_TREES      3u /* TABLE, LIVE, HISTORY */
#define CFS_VIEW_SLICES_MAX   (UINT32_C(1) << 20)
#define CFS_LOANS_MAX         1280u                /* groups of one answer */
#define CFS_FOLD_BYTES_MAX    (UINT32_C(16) << 20) /* records */
#define CFS_FOLD_RETURNS_MAX  65536u
#define CFS_FOLD_PLACES_MAX   2048u
/* More than that goes into lent blocks, if there are any. */
#define CFS_FOLD_INLINE_BYTES (UINT32_C(16) << 10)

/* ---- what is told over the seam ------------------------------------------ */

struct cfs_loan {
	uint64_t key;        /* lslice << 22 | group */
	uint64_t number;     /* of the lending */
	uint64_t allowed[2]; /* blocks that may be written */
	bool was_used;       /* it has a tag page, to go on behind */
	/* Its slice: that may have come behind the view. */
	struct cfs_piece pieces[CFS_PIECES_MAX];
};
struct cfs_loans { /* {0} is empty */
	size_t count, room;
	struct cfs_loan *items;
};
void cfs_loans_donep(struct cfs_loans *loans);

/* What is to be seen.  It owns smap and the loans. */
struct cfs_client_view {
	uint64_t container_id;
	uint8_t uuid[16];
	uint32_t epoch;     /* of the owner */
	uint64_t root_seq;  /* of the commit that it shows */
	uint64_t stamp;     /* births from here on, */
	uint64_t stamp_end; /* and below this */
	struct cfs_tree_root trees[CFS_CLIENT_TREES];
	uint64_t total_blocks, used_blocks, left_blocks;
	uint64_t map_change; /* number of the slice map's state */
	bool has_map;        /* else it is as the client knows it */
	uint32_t smap_count;
	struct cfs_smap_entry *smap;
	struct cfs_loans loans; /* with the answer to a fold: new ones */
};
void cfs_client_view_donep(struct cfs_client_view *view);

/* Blocks on loan that hold a part of a fold. */
struct cfs_fold_place {
	uint64_t vaddr;
	uint32_t count;
};

/*
 * Records and keys are in the message, or, if they are many, in lent blocks
 * that nothing else will use: @places, in this order, the last block filled up
 * with zeroes.  Then the message is small whatever the fold is.
 */
struct cfs_fold {
	uint64_t seq;                /* 1 for a client's first */
	uint64_t map_change;         /* as the client knows the slice map */
	struct cfs_log_position log; /* what is before it is folded by this */
	uint32_t record_count;
	size_t record_bytes;
	const uint8_t *records; /* as in a frame */
	size_t return_count;
	const uint64_t *returns; /* keys of groups that are given back */
	bool holds;              /* it will get a view before it goes on */
	uint32_t want_groups;    /* to be lent with the answer; 0: none */
	size_t place_count;      /* 0: all is here */
	const struct cfs_fold_place *places;
	uint8_t csum[16]; /* XXH3-128 of what the places hold */
	void *owned;      /* of one that was unpacked */
};
/* Bytes of records and keys: what the places hold. */
static inline size_t cfs_fold_bytes(const struct cfs_fold *fold)
{
	return fold->record_bytes + 8 * fold->return_count;
}
void cfs_fold_donep(struct cfs_fold *fold);

/*
 * Bytes of these for messages.  pack appends to @buf: 0 or -ENOMEM.  unpack
 * reads exactly @bytes and sets @ret on success only: -EUCLEAN for whatever is
 * cut, too much or out of bounds; -ENOMEM.  A fold that was unpacked leads into
 * @data, and is to be given to cfs_fold_donep; if it has places, its records
 * and returns are NULL until cfs_fold_attach gives it what they hold, which
 * stays the caller's: -EUCLEAN.
 */
int cfs_client_view_pack(const struct cfs_client_view *view,
			 struct cfs_buf *buf);
int cfs_client_view_unpack(const void *data, size_t bytes,
			   struct cfs_client_view *ret, struct cfs_err *err);
int cfs_loans_pack(const struct cfs_loans *loans, struct cfs_buf *buf);
int cfs_loans_unpack(const void *data, size_t bytes, struct cfs_loans *ret,
		     struct cfs_err *err);
int cfs_fold_pack(const struct cfs_fold *fold, struct cfs_buf *buf);
int cfs_fold_unpack(const void *data, size_t bytes, struct cfs_fold *ret,
		    struct cfs_err *err);
int cfs_fold_attach(struct cfs_fold *fold, const void *data,
		    struct cfs_err *err);
/* What goes into the places, appended; sets fold->csum.  -ENOMEM. */
int cfs_fold_detach(struct cfs_fold *fold, struct cfs_buf *buf);

/*
 * How a client reaches the owner.  Each call blocks until there is an answer or
 * the lease is lost.  -ENOSPC from lend is honest: there is none.
 */
struct cfs_client_source {
	/* Up to @group_count groups, at least one; added to @loans. */
	int (*lend)(void *ctx, uint32_t group_count, struct cfs_loans *loans,
		    struct cfs_err *err);
	/* Inode numbers from *ret_first on, below *ret_end. */
	int (*lend_inos)(void *ctx, uint32_t count, uint64_t *ret_first,
			 uint64_t *ret_end, struct cfs_err *err);
	int (*fold)(void *ctx, const struct cfs_fold *fold,
		    struct cfs_client_view *ret, struct cfs_err *err);
	int (*view)(void *ctx, uint64_t map_change, struct cfs_client_view *ret,
		    struct cfs_err *err);
	/* Do we still hold our lease, now?  Asked behind each flush, before a
	 * sync is acknowledged.  May be NULL. */
	bool (*holds)(void *ctx);
};

/* ---- client mode --------------------------------------------------------- */

struct cfs_client_config {
	uint64_t client_id;        /* 0: only reads, and has no log */
	struct cfs_client_rec rec; /* where its log and gravestone are */
	const struct cfs_client_source *source;
	void *source_ctx;
	/* Read the gravestone behind each flush: safe without clocks. */
	bool is_checked;
};

/*
 * Open @config's container as a client.  config->mv is set up from the view's
 * slice map here; root_vaddr, source, fills_log and was_clean are not used.
 * @view stays the caller's.
 */
int cfs_container_open_client(const struct cfs_container_config *config,
			      const struct cfs_client_config *client,
			      const struct cfs_client_view *view,
			      struct cfs_container **ret, struct cfs_err *err);

bool cfs_container_is_client(const struct cfs_container *c);
uint64_t cfs_container_client_id(const struct cfs_container *c);

/* Fold now, if there is anything to fold; lock not held. */
int cfs_container_fold(struct cfs_container *c, struct cfs_err *err);
/* The same, and get a new view in any case. */
int cfs_container_refresh(struct cfs_container *c, struct cfs_err *err);
/*
 * Fold, and begin no operation before there is a new view, for which the source
 * is asked then: for a snapshot.  Reading goes on.
 */
int cfs_container_hold(struct cfs_container *c, struct cfs_err *err);
/* Fold, and give back all groups that are not being written to; or, @all,
 * every one. */
int cfs_container_give_back(struct cfs_container *c, bool all,
			    struct cfs_err *err);

/*
 * An operation in client mode failed with @r.  1: a new view was got, try
 * again; else @r, or why there is none.  Lock not held, and no operation under
 * way.
 */
int cfs_container_client_again(struct cfs_container *c, int r,
			       struct cfs_err *err);

/*
 * We came back to an owner that has lent us @loans (cfs_container_loans): those
 * that we never heard of go back with the next fold.
 */
int cfs_container_reconcile(struct cfs_container *c,
			    const struct cfs_loans *loans, struct cfs_err *err);

struct cfs_client_counts {
	uint64_t loan_count;     /* groups */
	uint64_t allowed_blocks; /* that may still be written in them */
	uint64_t unfolded_bytes; /* of records */
	uint64_t folds;          /* since it was opened */
	uint64_t root_seq;       /* of the view */
	uint64_t stamp, stamp_end;
};
void cfs_container_client_counts(struct cfs_container *c,
				 struct cfs_client_counts *ret);
/* Folds that were begun since it was opened; without the lock. */
uint64_t cfs_container_client_folds(const struct cfs_container *c);
