/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a late write is, by what stands in it; so that a test can stop in front
 * of each kind, and say that it was late, and not only hope so.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "ondisk/frame.h"
#include "ondisk/node.h"
#include "ondisk/page.h"

enum gate_kind {
	GATE_DATA,
	GATE_NODE,
	GATE_FRAME, /* of a container's log */
	GATE_TABLE, /* of the pool's log: tables, slices, loans */
	GATE_TAGS,
	GATE_ROOT,
	GATE_GRAVE,
	GATE_SEAT,
	GATE_HEADER, /* of a slice */
	GATE_LABEL,
	GATE_DISCARD,
	GATE_KINDS,
};

#define GATE_KIND_NAMES                                                        \
	"data", "node", "frame", "table frame", "tag page", "root",            \
		"gravestone", "seat", "slice header", "label", "discard"

/* Of a page that is ours; @block is a block of the device. */
static inline enum gate_kind gate_kind_of_page(const void *block)
{
	static const enum gate_kind kinds[] = {
		[CFS_PAGE_LABEL] = GATE_LABEL,  [CFS_PAGE_SEAT] = GATE_SEAT,
		[CFS_PAGE_SLICE] = GATE_HEADER, [CFS_PAGE_TAGS] = GATE_TAGS,
		[CFS_PAGE_ROOT] = GATE_ROOT,    [CFS_PAGE_GRAVE] = GATE_GRAVE,
	};
	const struct cfs_page_disk *page = block;
	const uint16_t kind = le16_get(page->kind);

	return kind > 0 && kind < CFS_ARRAY_COUNT(kinds) ? kinds[kind]
							 : GATE_DATA;
}

static inline enum gate_kind gate_kind_of(const void *block)
{
	const struct cfs_frame_header_disk *frame = block;
	const struct cfs_node_header_disk *node = block;
	const struct cfs_page_disk *page = block;

	if (le32_get(frame->magic) == CFS_FRAME_MAGIC)
		return le64_get(frame->container_id) ? GATE_FRAME : GATE_TABLE;
	if (le32_get(node->magic) == CFS_NODE_MAGIC)
		return GATE_NODE;
	return le32_get(page->magic) == CFS_PAGE_MAGIC
		       ? gate_kind_of_page(block)
		       : GATE_DATA;
}

/* What a write of so many bytes has in it; NULL: a discard.  A frame is one,
 * whatever data is in it. */
static inline void gate_count(unsigned int counts[GATE_KINDS], const void *data,
			      size_t length_bytes)
{
	if (!data) {
		counts[GATE_DISCARD]++;
		return;
	}
	for (size_t at = 0; at + CFS_PAGE_BYTES <= length_bytes;
	     at += CFS_PAGE_BYTES) {
		const enum gate_kind kind = gate_kind_of((const uint8_t *)data +
							 at);

		counts[kind]++;
		if (kind == GATE_FRAME || kind == GATE_TABLE)
			break;
	}
}

static inline void gate_add(unsigned int sum[GATE_KINDS],
			    const unsigned int counts[GATE_KINDS])
{
	for (unsigned int i = 0; i < GATE_KINDS; i++)
		sum[i] += counts[i];
}

#define GATE_FLUSHES_MAX 2048u

/* What was written in front of each flush; and in which ones to stop. */
struct gate_plan {
	unsigned int flushes;
	uint16_t kinds[GATE_FLUSHES_MAX + 1]; /* by flush, from 1 on */
	bool is_chosen[GATE_FLUSHES_MAX + 1];
};

/* A write in front of flush @flush. */
static inline void gate_note(struct gate_plan *plan, unsigned int flush,
			     const void *data, size_t length_bytes)
{
	unsigned int counts[GATE_KINDS] = { 0 };

	if (flush > GATE_FLUSHES_MAX)
		return;
	gate_count(counts, data, length_bytes);
	for (unsigned int i = 0; i < GATE_KINDS; i++)
		if (counts[i])
			plan->kinds[flush] |= (uint16_t)(1u << i);
}

/* Of the flushes behind which this kind is not late any more, @count at even
 * distances; those that were chosen for another kind count. */
static inline void gate_choose_kind(struct gate_plan *plan, enum gate_kind kind,
				    unsigned int count)
{
	unsigned int has = 0, n = 0;

	for (unsigned int i = 1; i <= plan->flushes; i++)
		has += plan->kinds[i] >> kind & 1;
	for (unsigned int i = 1; i <= plan->flushes; i++) {
		if (!(plan->kinds[i] >> kind & 1))
			continue;
		if ((uint64_t)n * count / has !=
			    (uint64_t)(n + 1) * count / has ||
		    count >= has)
			plan->is_chosen[i] = true;
		n++;
	}
}

/* @count flushes of each kind; UINT_MAX: all. */
static inline void gate_choose(struct gate_plan *plan, unsigned int flushes,
			       unsigned int count)
{
	assert_true(flushes <= GATE_FLUSHES_MAX);
	plan->flushes = flushes;
	for (unsigned int i = 0; i < GATE_KINDS; i++)
		gate_choose_kind(plan, i, count);
}

/* Each of @want, a bit a kind, was late at least once; those alone. */
static inline void gate_must_have(const unsigned int counts[GATE_KINDS],
				  unsigned int want)
{
	static const char *const names[] = { GATE_KIND_NAMES };

	for (unsigned int i = 0; i < GATE_KINDS; i++) {
		print_message("# late: %s: %u\n", names[i], counts[i]);
		if ((want >> i & 1) != (counts[i] > 0))
			fail_msg("%s: late %u times", names[i], counts[i]);
	}
}
