/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory for the content of pages.  A disk that is written has thousands made
 * and forgotten a second, of the size and the alignment that malloc is worst
 * at: each takes two pages of a heap, which is widened by a call of the kernel
 * for it and faulted in.  So they come from pieces of many, and those that are
 * forgotten are kept for the next.
 *
 * What must stay true: all containers of the process share them, so that many
 * that are open keep no more than the most that were dirty at a time; and
 * nobody takes another lock under this one.
 */
#include "volume/vols_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_WATCHED 1
#endif
#endif
#ifdef IS_WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

#define PIECE_PAGES 64u
#define PIECE_BYTES ((size_t)PIECE_PAGES * CFS_BLOCK_BYTES)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t **pieces;
static size_t piece_count;
/* Pages that nobody has, the one that is used next last; room for all. */
static uint8_t **kept;
static size_t kept_count;

/* With the lock.  False: no memory. */
static bool add_piece(void)
{
	const size_t count = piece_count + 1;
	uint8_t **list, *at;

	list = realloc(kept, count * PIECE_PAGES * sizeof(*list));
	if (!list)
		return false;
	kept = list;
	list = realloc(pieces, count * sizeof(*list));
	if (!list)
		return false;
	pieces = list;
	at = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (at == MAP_FAILED)
		return false;
	pieces[piece_count++] = at;
	for (size_t i = PIECE_PAGES; i-- > 0;)
		kept[kept_count++] = at + i * CFS_BLOCK_BYTES;
	ASAN_POISON_MEMORY_REGION(at, PIECE_BYTES);
	return true;
}

uint8_t *cfs_page_data_alloc(void)
{
	uint8_t *data = NULL;

	pthread_mutex_lock(&lock);
	if (kept_count > 0 || add_piece())
		data = kept[--kept_count];
	pthread_mutex_unlock(&lock);
	if (data)
		ASAN_UNPOISON_MEMORY_REGION(data, CFS_BLOCK_BYTES);
	return data;
}

void cfs_page_data_free(uint8_t *data)
{
	if (!data)
		return;
	ASAN_POISON_MEMORY_REGION(data, CFS_BLOCK_BYTES);
	pthread_mutex_lock(&lock);
	kept[kept_count++] = data;
	pthread_mutex_unlock(&lock);
}

/* With the lock; nobody has a page. */
static void drop_all(void)
{
	for (size_t i = 0; i < piece_count; i++) {
		ASAN_UNPOISON_MEMORY_REGION(pieces[i], PIECE_BYTES);
		(void)munmap(pieces[i], PIECE_BYTES);
	}
	free(pieces);
	free(kept);
	pieces = kept = NULL;
	piece_count = kept_count = 0;
}

void cfs_page_data_rest(void)
{
	pthread_mutex_lock(&lock);
	if (kept_count == piece_count * PIECE_PAGES)
		drop_all();
	/* Where some are in use, the others keep no more than their place. */
	for (size_t i = 0; i < kept_count; i++)
		(void)madvise(kept[i], CFS_BLOCK_BYTES, MADV_DONTNEED);
	pthread_mutex_unlock(&lock);
}

size_t cfs_page_data_count(void)
{
	size_t count;

	pthread_mutex_lock(&lock);
	count = piece_count * PIECE_PAGES;
	pthread_mutex_unlock(&lock);
	return count;
}

/* Whoever unloads the library has closed all containers. */
__attribute__((destructor)) static void unload(void)
{
	cfs_page_data_rest();
}
