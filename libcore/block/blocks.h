/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocks with their tags: nothing above this layer sees a block that was not
 * verified, and nothing is written without a tag.
 *
 * A tag page of a group stands in two slots, one at each end of its slice, and
 * in each piece of a mirrored slice.  The valid page with the highest seq
 * counts.  The page names container, logical slice and group, and the
 * slice's generation, so a page of an earlier life of the slice is void.
 *
 * Checksums that were read from tag pages are cached at 8 bytes a block; pages
 * that a read misses are read beside its data, and some ahead of a row.  Of
 * groups that are open for writing the newest tags are in memory; they are
 * registered here so that reads see them (struct cfs_group).
 *
 * Thread safety: all functions may be called from any thread; groups are
 * changed only under the container's lock.
 */
#pragma once

#include "ondisk/tag.h"
#include "pool/metavolume.h"

struct cfs_blocks;

/* A group whose tags are in memory, since its owner writes there. */
struct cfs_group {
	uint64_t lslice;
	uint32_t index; /* of the group in its slice */
	uint64_t seq;   /* of the page on the device; 0: none */
	/* As it was loaded: pieces without this page, by bit; and is the page
	 * before it damaged, or not the same on all pieces? */
	unsigned int stale_pieces;
	bool is_uneven;
	/* The slot beside it could not be read on any piece, and may hold a
	 * newer page: nobody writes one made of this. */
	bool is_doubtful;
	struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];
};

/* @cache_bytes: for checksums that were read; at least a few groups are kept. */
int cfs_blocks_new(struct cfs_metavolume *mv, const uint8_t container_uuid[16],
		   uint64_t cache_bytes, struct cfs_blocks **ret,
		   struct cfs_err *err);
void cfs_blocks_free(struct cfs_blocks *b); /* NULL is allowed */
uint64_t cfs_blocks_seed(const struct cfs_blocks *b);
/* Writers and pages carry this epoch. */
void cfs_blocks_set_epoch(struct cfs_blocks *b, uint32_t epoch);

/*
 * Read a group's tag page: the best valid copy of all slots and pieces.
 * Returns 0; -ENOENT without @err: there is none of this life of the slice
 * (the group was never written); -EUCLEAN: there is something, and no copy of
 * it is valid; -EIO.
 */
int cfs_group_load(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		   struct cfs_group *ret, struct cfs_err *err);
/*
 * The same for many groups at once, their pages read in parallel.  Each
 * groups[i] comes with lslice and index set; results[i] is as above.
 */
int cfs_groups_load(struct cfs_blocks *b, struct cfs_group *const *groups,
		    size_t count, int *results, struct cfs_err *err);
/*
 * Only to see whether tags are there: a group's newest page as one piece has
 * it.  NULL: that page is not there, or not whole; and it may be an older one,
 * if rarely: where it does not say what it should, cfs_group_load knows more.
 */
struct cfs_group_peek {
	uint64_t lslice;
	uint32_t index;
	const struct cfs_tag_disk *tags; /* out; CFS_TAGS_PER_PAGE */
};
/* Where they lie; to be used again, until done. */
struct cfs_peek_pages {
	void *data;
	size_t bytes;
};
void cfs_peek_pages_done(struct cfs_peek_pages *pages);
/* Many at once, best in the order of addresses. */
int cfs_groups_peek(struct cfs_blocks *b, struct cfs_group_peek *peeks,
		    size_t count, struct cfs_peek_pages *pages,
		    struct cfs_err *err);
/*
 * Write the page that was loaded, as it stands, to the pieces that did not have
 * it.  The next page, which goes over the one before, must wait for a flush.
 */
int cfs_group_spread(struct cfs_blocks *b, const struct cfs_group *g,
		     struct cfs_err *err);
/*
 * Make the page that writes @g's tags, seq one higher, into @page, and tell
 * where it goes.  g->seq is raised.
 */
void cfs_group_page(struct cfs_blocks *b, struct cfs_group *g, uint64_t stamp,
		    struct cfs_page_disk *page, uint64_t *ret_vaddr);

/* Reads ask @g for its tags from now on; until it is dropped. */
int cfs_blocks_register(struct cfs_blocks *b, struct cfs_group *g,
			struct cfs_err *err);
void cfs_blocks_unregister(struct cfs_blocks *b, struct cfs_group *g);
/* Change one tag of a registered group; reads may be asking for it. */
void cfs_blocks_set_tag(struct cfs_blocks *b, struct cfs_group *g,
			unsigned int index, const struct cfs_tag *tag);
/* Forget what is cached of a slice (it left the map, or got a new life). */
void cfs_blocks_forget(struct cfs_blocks *b, uint64_t lslice);
/* The same of one group: somebody else wrote its page. */
void cfs_blocks_forget_group(struct cfs_blocks *b, uint64_t lslice,
			     uint32_t index);

/* The tag of a block as its group's newest page has it. */
int cfs_block_tag(struct cfs_blocks *b, uint64_t vaddr, struct cfs_tag *ret,
		  struct cfs_err *err);

/* What a reader expects of @count blocks at @vaddr, of one slice. */
struct cfs_block_read {
	uint64_t vaddr;
	uint32_t count;
	struct cfs_tag first; /* identity of the first block; the
			       * others' offsets follow */
	uint64_t csum;        /* of the block, if count is 1 and this
			       * is not 0; else the tags are asked */
	void *buf;
	uint32_t bad_index; /* out: the first block that is bad */
	int result;         /* out, of cfs_block_read_many */
	bool may_ahead;     /* more may be read, and kept for who
			     * goes on behind it */
};
/*
 * Read and verify.  A block that does not verify is read from the other
 * pieces; if one has it, the bad one is written anew (@heals), and
 * *ret_healed (may be NULL) counts them.
 * -EUCLEAN: damage that no copy heals; blocks before rd->bad_index are good.
 */
int cfs_block_read(struct cfs_blocks *b, struct cfs_block_read *rd, bool heals,
		   uint32_t *ret_healed, struct cfs_err *err);

/*
 * Many reads, in parallel; each has its result.  Returns 0, or the first
 * failure in the order of the list with @err naming it.
 */
int cfs_block_read_many(struct cfs_blocks *b, struct cfs_block_read *reads,
			size_t count, bool heals, struct cfs_err *err);

/*
 * The same without the container's lock: what the reads name may have been
 * freed meanwhile, and have another content.  0: all of it is what was named.
 * -EAGAIN: some of it is not; ask again under the lock, which is where damage
 * can be told from change, and healed.
 */
int cfs_block_read_beside(struct cfs_blocks *b, struct cfs_block_read *reads,
			  size_t count);

/* Verify one block that was read elsewhere (scrub). */
bool cfs_block_is_good(const struct cfs_blocks *b, const struct cfs_tag *tag,
		       const void *block);
