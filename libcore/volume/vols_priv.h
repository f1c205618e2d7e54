/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the volume layer keeps in memory for one open container: branches with
 * their pins, and dirty pages.  All of it is guarded by the container's lock.
 */
#pragma once

#include "base/hash.h"
#include "block/blocks.h"
#include "tree/hooks.h"
#include "tree/space.h"
#include "volume/data.h"
#include "volume/map.h"

#include <utlist.h>

/* Stamps, sorted, equal ones allowed. */
struct stamps {
	uint64_t *list; /* within what was allocated: those in front
			 * go without moving the others */
	size_t count, room;
	size_t skipped; /* in front of list */
};

struct branch {
	uint16_t id;
	struct cfs_branch_rec rec;
	struct stamps forks; /* of its child branches */
	struct stamps snaps; /* of its snapshots, if has_snaps */
	uint64_t newest;     /* of its snapshots, if has_newest; 0: none */
	bool has_snaps;
	bool has_newest;
	bool is_changed; /* counters or levels: into the next
			  * commit */
	UT_hash_handle hh;
};

struct page_key {
	uint64_t branch_ino;
	uint64_t offset; /* block */
};

/* A block that is in memory only, or there and in the log. */
struct page {
	struct page_key key;
	uint64_t stamp;   /* its birth */
	uint8_t *data;    /* 4096 bytes, aligned */
	bool is_logged;   /* this content is durable in the log */
	bool is_gathered; /* in the frame being made */
	bool is_folding;  /* it is in v->folding */
	bool is_old;      /* there alone: see page_fold.c */
	uint32_t folding_at;
	struct page *prev, *next; /* in the list of those not logged */
	struct page_file *file;
	struct page *file_prev, *file_next; /* in its list */
	UT_hash_handle hh;
};

/* What is dirty of a file, or of a LUN. */
struct page_file {
	uint64_t branch_ino;
	struct page *pages;
	uint64_t count; /* at least one */
	UT_hash_handle hh;
};

/* names.c: snapshots of all branches by the hash of their name. */
struct snap_names {
	struct {
		uint64_t hash;
		uint64_t place; /* stamp 48 | branch 16; 0: empty */
	} * list;
	size_t room, count;
	size_t made_of; /* how many there were when it was made */
	bool was_asked; /* for a name, with the list or without */
};

struct cfs_vols {
	struct cfs_container *c;
	struct branch *branches;
	struct snap_names names;
	bool makes_index; /* of names; under way */
	bool lacks_index; /* there was no room for it */
	struct page *pages;
	size_t page_count;
	struct page_file *files; /* whose they are */
	struct page *unlogged;   /* a sync looks at these alone */
	size_t unlogged_count;
	bool is_going_back;    /* page_back.c: some are on their way */
	struct parked *parked; /* for an abort; the newest first */
	/* Of the fold under way, freed when it is durable: page_fold.c. */
	struct page **folding;
	size_t folding_count;
	size_t folding_next;     /* to go home; those before it are */
	size_t folding_expected; /* whose leaves were asked for */
	size_t folding_old;      /* is_old, and to go home */
};

struct cfs_vols *cfs_vols_of(struct cfs_container *c);

/* branch.c */
struct branch *cfs_branch_find(struct cfs_vols *v, uint16_t id);
int cfs_branch_get(struct cfs_vols *v, uint16_t id, struct branch **ret,
		   struct cfs_err *err);
/*
 * Is there a pin p with lo <= p < hi?  1, 0, or what makes a read of the small
 * tables fail: a cursor's value does not outlive this.
 */
int cfs_branch_is_pinned(struct cfs_vols *v, struct branch *b, uint64_t lo,
			 uint64_t hi, struct cfs_err *err);
int cfs_branch_has_snapshot(struct cfs_vols *v, struct branch *b,
			    uint64_t stamp, struct cfs_err *err);
/* All its snapshots into b->snaps, where they stay. */
int cfs_branch_load(struct cfs_vols *v, struct branch *b, struct cfs_err *err);
/* As is_pinned, of a branch that was loaded: nothing is read. */
bool cfs_branch_pins_have(const struct branch *b, uint64_t lo, uint64_t hi);
int cfs_branch_changed(struct cfs_vols *v, const struct cfs_key *key,
		       const void *value, size_t value_bytes,
		       struct cfs_err *err);
int cfs_branches_store(struct cfs_vols *v, struct cfs_err *err);
void cfs_branches_done(struct cfs_vols *v);
int cfs_branch_count(struct cfs_vols *v, struct branch *b, int64_t live,
		     int64_t history, struct cfs_err *err);
/* The parent's view that shows through where @view's own branch has nothing.
 * False: no parent. */
bool cfs_branch_parent_view(struct cfs_vols *v, const struct cfs_view *view,
			    struct cfs_view *ret);

/* names.c */
/* Non-zero ends the search and is returned. */
typedef int (*cfs_names_match_fn)(void *arg, uint16_t branch, uint64_t stamp,
				  struct cfs_err *err);
/* Snapshots of any volume that may have this name, or may not be there. */
int cfs_names_find(struct cfs_vols *v, const char *name, cfs_names_match_fn fn,
		   void *arg, struct cfs_err *err);
void cfs_names_changed(struct cfs_vols *v, uint16_t branch, uint64_t stamp,
		       const void *value, size_t value_bytes);
void cfs_names_forget(struct cfs_vols *v);
/* The name in a SNAPSHOT record, without a NUL; a damaged one has none that
 * could be asked for: NULL. */
const uint8_t *cfs_names_in(const uint8_t *value, size_t value_bytes,
			    size_t *ret_bytes);

/* name_index.c */
/* The trees of @c can be read now, and nothing is replayed yet. */
void cfs_name_index_opened(struct cfs_container *c);
/* A container without snapshots: the index is whole from here on. */
void cfs_name_index_begin(struct cfs_vols *v);
/*
 * Make it, where it is not whole and there is room for it; in operations of
 * its own.  No lock held.  What goes wrong is no error: it is not there then.
 */
void cfs_name_index_make(struct cfs_vols *v);
/* Blocks that changes of so many names may take. */
uint64_t cfs_name_index_blocks(struct cfs_vols *v, size_t count);
/* As cfs_names_find, of @volume; -ENODATA without @err: it cannot tell. */
int cfs_name_index_find(struct cfs_vols *v, uint64_t volume, const char *name,
			cfs_names_match_fn fn, void *arg, struct cfs_err *err);
/* The table_changing hook. */
void cfs_name_index_changing(struct cfs_vols *v, const struct cfs_key *key,
			     const void *value, size_t value_bytes);

/* page_file.c */
/* A page comes (-ENOMEM) or goes; its key is set. */
int cfs_page_file_add(struct cfs_vols *v, struct page *p);
void cfs_page_file_remove(struct cfs_vols *v, struct page *p);
typedef int (*cfs_page_fn)(struct cfs_vols *v, struct page *p,
			   struct cfs_err *err);
/* @fn for each page of the range; it may remove the page. */
int cfs_pages_each(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t count, cfs_page_fn fn,
		   struct cfs_err *err);
/* The first page of the branch at or behind @offset, and before @end. */
bool cfs_pages_next(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		    uint64_t offset, uint64_t end, uint64_t *ret_offset);
/* One behind the last page of the branch; 0: there is none. */
uint64_t cfs_pages_end(struct cfs_vols *v, uint16_t branch, uint64_t ino);

/* page_mem.c: what a page's content is in, with any content; NULL: no memory. */
uint8_t *cfs_page_data_alloc(void);
/* @data may be NULL. */
void cfs_page_data_free(uint8_t *data);
/* Give back the memory of those that nobody has. */
void cfs_page_data_rest(void);
/* How many there are, of all containers, in use and kept. */
size_t cfs_page_data_count(void);

/* page.c */
struct page *cfs_page_find(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			   uint64_t offset);
/* The page, made if need be (with any content), ready for a content that is born at
 * @stamp: an older one that a snapshot sees went home first.  @ret_is_new. */
int cfs_page_dirty(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t stamp, struct page **ret,
		   bool *ret_is_new, struct cfs_err *err);
/* Content was put into @p: it is not what the log has any more. */
void cfs_page_touch(struct cfs_vols *v, struct page *p);
/* Before [offset, offset + count) gets other content: pages that a snapshot
 * sees go home; then (drop) all of them are forgotten. */
int cfs_pages_settle(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     uint64_t offset, uint64_t count, struct cfs_err *err);
void cfs_pages_drop(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		    uint64_t offset, uint64_t count);
/* Make a page be as it was; @data (NULL: there was none) becomes its own, on
 * success.  -ENOMEM. */
int cfs_page_restore(struct cfs_vols *v, const struct page_key *key,
		     uint8_t *data, uint64_t stamp, bool is_logged);
int cfs_pages_gather(struct cfs_vols *v, struct cfs_err *err);
void cfs_pages_gathered(struct cfs_vols *v, bool is_durable);
void cfs_pages_done(struct cfs_vols *v);
int cfs_pages_replay(struct cfs_vols *v, const struct cfs_rec *rec,
		     struct cfs_err *err);
/* Pages of @branch are forgotten (it is deleted). */
void cfs_pages_drop_branch(struct cfs_vols *v, uint16_t branch);

/* All pages (or those not in the log), in order of place; free the list. */
int cfs_pages_sorted(struct cfs_vols *v, bool only_unlogged, struct page ***ret,
		     size_t *ret_count, struct cfs_err *err);
/* How many from @list on are adjacent and of one birth. */
uint32_t cfs_page_run_length(struct page *const *list, size_t left);
/* Is its content seen by a snapshot?  As cfs_branch_is_pinned. */
int cfs_page_is_pinned(struct cfs_vols *v, const struct page *p,
		       struct cfs_err *err);
/* Where each page of a run goes; @arg of that. */
typedef void (*cfs_page_home_fn)(void *arg, struct page *p, uint64_t vaddr);
/* Places and records for a run; the content is for @home to write. */
int cfs_page_run_home(struct cfs_vols *v, struct page *const *run,
		      uint32_t count, cfs_page_home_fn home, void *arg,
		      struct cfs_err *err);
bool cfs_page_is_client_fold(const struct cfs_vols *v);
/* Forget a page whose content is home; the content is the caller's. */
uint8_t *cfs_page_take(struct cfs_vols *v, struct page *p);

/* One that is in no list, nor in the table. */
void cfs_page_free(struct page *p);
/* Out of the lists and freed; not while it is folded. */
void cfs_page_remove(struct cfs_vols *v, struct page *p);

/* page_fold.c: the hooks fold (1: there are more) and fold_beside, for pages. */
int cfs_pages_fold(struct cfs_vols *v, uint64_t *budget, struct cfs_err *err);
int cfs_pages_fold_beside(struct cfs_vols *v, struct cfs_err *err);
void cfs_pages_folded(struct cfs_vols *v);
/* A page of the fold under way is to be changed: its content stays with that,
 * and the page goes on with a copy. */
int cfs_page_leave_fold(struct cfs_vols *v, struct page *p,
			struct cfs_err *err);
/* All is closed: what is old goes, and nothing is folded any more. */
void cfs_pages_unfold(struct cfs_vols *v);

/* page_back.c: are there so many that some should go home? */
bool cfs_pages_want_back(const struct cfs_vols *v);

/*
 * page_undo.c.  Before a page is made, changed, or removed within an
 * operation; the last takes its content.
 */
int cfs_page_park_absent(struct cfs_vols *v, const struct page_key *key,
			 struct cfs_err *err);
int cfs_page_park_content(struct cfs_vols *v, struct page *p,
			  struct cfs_err *err);
void cfs_page_park_whole(struct cfs_vols *v, struct page *p);
/* The operation has ended, or was undone. */
void cfs_pages_op_done(struct cfs_vols *v);

/* extent.c */
struct extent {
	uint64_t offset; /* block */
	uint64_t count;
	uint64_t vaddr; /* 0: a whiteout */
	uint64_t stamp;
	uint64_t csum; /* count 1 only; 0: ask the tag */
	uint16_t seq;
};
/*
 * Put a new version of [e->offset, +count); what stood there dies at its
 * stamp.
 */
int cfs_extent_put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   const struct extent *e, struct cfs_err *err);
/*
 * Blocks at @pages[0] and so on are going to be put, in this order.  Returns
 * how many of the @count were looked at: at least 1, unless @count is 0.
 */
size_t cfs_extents_expect(struct cfs_vols *v, struct page *const *pages,
			  size_t count);
/* The same; they are read while something else is done. */
size_t cfs_extents_expect_later(struct cfs_vols *v, struct page *const *pages,
				size_t count);
/* The seq that a version of this range born at @stamp must have. */
int cfs_extent_next_seq(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			uint64_t offset, uint64_t count, uint64_t stamp,
			uint16_t *ret, struct cfs_err *err);
/* What stood in the range dies at @death; nothing takes its place. */
int cfs_extent_cut(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t count, uint64_t death,
		   bool *ret_had_some, struct cfs_err *err);

/* The live extent that covers @offset, or the first one behind; -ENOENT. */
int cfs_extent_at(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		  uint64_t offset, struct extent *ret, struct cfs_err *err);

enum segment_kind { SEGMENT_HOLE, SEGMENT_DISK, SEGMENT_PAGE };
struct segment {
	enum segment_kind kind;
	uint64_t offset; /* blocks */
	uint64_t count;
	uint64_t vaddr;  /* DISK */
	uint16_t branch; /* whose version it is */
	uint64_t stamp;
	uint64_t csum;
	uint16_t seq;
	const uint8_t *page; /* PAGE: count is 1 */
};
/*
 * What a view shows of [offset, offset + count), in order, without gaps.
 * @each: non-zero stops and is returned.  It must change nothing.
 */
typedef int (*segment_fn)(void *arg, const struct segment *s,
			  struct cfs_err *err);
int cfs_segments(const struct cfs_view *view, uint64_t ino, uint64_t offset,
		 uint64_t count, segment_fn each, void *arg,
		 struct cfs_err *err);
/* One block behind the last that a branch or its parents have data for. */
int cfs_extent_end(const struct cfs_view *view, uint64_t ino, uint64_t *ret_end,
		   struct cfs_err *err);

/* map.c */
int cfs_map_replay(struct cfs_vols *v, const struct cfs_rec *rec,
		   struct cfs_err *err);
/* data.c */
int cfs_data_replay_punch(struct cfs_vols *v, const struct cfs_rec *rec,
			  struct cfs_err *err);
int cfs_data_replay_extent(struct cfs_vols *v, const struct cfs_rec *rec,
			   struct cfs_err *err);
/* client_check.c: may a client have made this record? */
int cfs_client_rec_check(struct cfs_vols *v, const struct cfs_rec *rec,
			 const struct cfs_fold_rules *rules,
			 struct cfs_err *err);
/* tombstone.c */
int cfs_tombstone_put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		      uint64_t offset, uint64_t count, struct cfs_err *err);
