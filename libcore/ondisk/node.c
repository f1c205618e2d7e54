/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes.  Once a node was verified, its slots, lengths and keys may be used
 * without another look: nothing in the tree code checks them again.
 */
#include "ondisk/node.h"

#include "base/bits.h"
#include "base/xxh.h"
#include "ondisk/tag.h"

#define HEADER_BYTES sizeof(struct cfs_node_header_disk)
#define CSUM_OFFSET  offsetof(struct cfs_node_header_disk, csum)

struct key {
	uint64_t w[CFS_KEY_WORDS_MAX];
};

static uint64_t node_csum(const uint8_t *node)
{
	static const uint8_t zero[sizeof(le64)];
	struct cfs_xxh3_stream s;

	cfs_xxh3_stream_init(&s, 0);
	cfs_xxh3_stream_update(&s, node, CSUM_OFFSET);
	cfs_xxh3_stream_update(&s, zero, sizeof(zero));
	cfs_xxh3_stream_update(&s, node + HEADER_BYTES,
			       CFS_NODE_BYTES - HEADER_BYTES);
	return cfs_xxh3_stream_end(&s);
}

void cfs_node_seal(void *node)
{
	struct cfs_node_header_disk *h = node;

	h->csum = le64_put(0);
	h->csum = le64_put(cfs_xxh3(node, CFS_NODE_BYTES));
}

static struct key key_get(const void *p, unsigned int words)
{
	struct key key = { { 0 } };
	le64 w;

	for (unsigned int i = 0; i < words; i++) {
		memcpy(w.b, (const uint8_t *)p + i * sizeof(w), sizeof(w));
		key.w[i] = le64_get(w);
	}
	return key;
}

static bool key_is_less(const struct key *a, const struct key *b)
{
	for (unsigned int i = 0; i < CFS_KEY_WORDS_MAX; i++)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i];
	return false;
}

/* Bytes of the record at @start, 0 if it does not fit into the node. */
static uint32_t record_bytes(const uint8_t *node, uint32_t start, bool is_leaf,
			     unsigned int key_words)
{
	uint32_t room = CFS_NODE_BYTES - start;
	uint32_t bytes = key_words * (uint32_t)sizeof(le64);
	uint32_t value_bytes;
	le16 v;

	if (!is_leaf) {
		bytes += (uint32_t)sizeof(struct cfs_node_ref_disk);
		return bytes <= room ? bytes : 0;
	}
	if (bytes + sizeof(v) > room)
		return 0;
	memcpy(v.b, node + start + bytes, sizeof(v));
	value_bytes = le16_get(v);
	bytes += (uint32_t)sizeof(v) + value_bytes;
	return value_bytes <= CFS_VALUE_BYTES_MAX && bytes <= room ? bytes : 0;
}

static int records_verify(const uint8_t *node, struct cfs_err *err)
{
	const struct cfs_node_header_disk *h = (const void *)node;
	const uint8_t *slots = node + HEADER_BYTES;
	uint32_t count = le16_get(h->record_count);
	uint32_t start = le16_get(h->records_start);
	unsigned int words = h->key_words;
	struct key low = key_get(h->low, words);
	struct key high = key_get(h->high, words);
	bool has_high = !(h->flags & CFS_NODE_FLAG_NO_HIGH);
	struct key key, last = low;
	uint32_t bytes, sum = 0;
	le16 slot;

	if (start > CFS_NODE_BYTES || HEADER_BYTES + count * 2 > start ||
	    (count == 0 && h->level > 0))
		return cfs_err_set(err, -EUCLEAN, "node: bad record count");
	if (has_high && !key_is_less(&low, &high))
		return cfs_err_set(err, -EUCLEAN, "node: empty range of keys");
	for (uint32_t i = 0; i < count; i++) {
		memcpy(slot.b, slots + i * sizeof(slot), sizeof(slot));
		if (le16_get(slot) < start || le16_get(slot) >= CFS_NODE_BYTES)
			return cfs_err_set(err, -EUCLEAN, "node: bad slot %u",
					   i);
		bytes = record_bytes(node, le16_get(slot), h->level == 0,
				     words);
		sum += bytes;
		if (bytes == 0 || sum > CFS_NODE_BYTES - start)
			return cfs_err_set(err, -EUCLEAN,
					   "node: record %u does not fit", i);
		key = key_get(node + le16_get(slot), words);
		if ((i > 0 && !key_is_less(&last, &key)) ||
		    key_is_less(&key, &low) ||
		    (has_high && !key_is_less(&key, &high)))
			return cfs_err_set(err, -EUCLEAN,
					   "node: key %u out of order", i);
		last = key;
	}
	return 0;
}

int cfs_node_verify(const void *node, unsigned int tree_id, int level,
		    unsigned int key_words, uint64_t container_id,
		    struct cfs_err *err)
{
	const struct cfs_node_header_disk *h = node;
	unsigned int version = le16_get(h->version);

	if (le32_get(h->magic) != CFS_NODE_MAGIC)
		return cfs_err_set(err, -EUCLEAN, "node: bad magic");
	if (le64_get(h->csum) != node_csum(node))
		return cfs_err_set(err, -EUCLEAN, "node: bad checksum");
	if (version > CFS_NODE_VERSION)
		return cfs_err_set(err, -ENOTSUP, "node: newer version %u",
				   version);
	if (version != CFS_NODE_VERSION)
		return cfs_err_set(err, -EUCLEAN, "node: bad version %u",
				   version);
	if (h->tree_id != tree_id || le64_get(h->container_id) != container_id)
		return cfs_err_set(err, -EUCLEAN, "node: of another tree");
	if (h->level > CFS_NODE_LEVEL_MAX || (level >= 0 && h->level != level))
		return cfs_err_set(err, -EUCLEAN, "node: of level %u",
				   h->level);
	if (h->key_words != key_words || key_words < 1 ||
	    key_words > CFS_KEY_WORDS_MAX || h->flags & ~CFS_NODE_FLAG_NO_HIGH)
		return cfs_err_set(err, -EUCLEAN, "node: bad keys or flags");
	if (le64_get(h->number) > CFS_OFF_MAX ||
	    le64_get(h->stamp) > CFS_STAMP_MAX)
		return cfs_err_set(err, -EUCLEAN, "node: bad number or stamp");
	return records_verify(node, err);
}
