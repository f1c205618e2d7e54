/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/hand.h"

#include "base/err.h"
#include "base/le.h"

#include <errno.h>
#include <string.h>

struct list_disk {
	le64 space;
	le32 is_all;
	le32 count;
};
CFS_ASSERT_SIZE(struct list_disk, 16);

#define HANDED_IS_SEEN (1u << 0)

struct handed_disk {
	le64 client_id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
	uint8_t host[CFS_MSG_HOST_BYTES];
	uint8_t boot_id[CFS_UUID_BYTES];
	le64 pid;
	le64 process_start;
	uint8_t name[CFS_MSG_NAME_BYTES];
	le64 period_ns;
	le32 hello_flags;
	le32 flags;
	le32 lease_count;
	le32 reserved;
};
CFS_ASSERT_SIZE(struct handed_disk, 208);

#define HANDED_IS_RECALLABLE (1u << 0)

struct lease_disk {
	le64 lease_id;
	le64 key;
	le64 generation;
	le64 container;
	le64 volume;
	le64 ino;
	le64 offset_bytes;
	le64 length_bytes;
	le32 mode;
	le32 flags;
};
CFS_ASSERT_SIZE(struct lease_disk, 72);

void cfs_handed_list_donep(struct cfs_handed_list *list)
{
	for (size_t i = 0; i < list->v.count; i++)
		cfs_vec_done(&list->v.items[i].leases);
	cfs_vec_done(&list->v);
	cfs_vec_done(&list->peers);
}

/* ---- to bytes ------------------------------------------------------------ */

static int pack_lease(const struct cfs_handed_lease *l, struct cfs_buf *buf)
{
	const struct lease_disk d = {
		.lease_id = le64_put(l->lease_id),
		.key = le64_put(l->key),
		.generation = le64_put(l->generation),
		.container = le64_put(l->resource.container),
		.volume = le64_put(l->resource.volume),
		.ino = le64_put(l->resource.ino),
		.offset_bytes = le64_put(l->resource.offset_bytes),
		.length_bytes = le64_put(l->resource.length_bytes),
		.mode = le32_put(l->mode),
		.flags = le32_put(l->is_recallable ? HANDED_IS_RECALLABLE : 0),
	};

	return cfs_buf_append(buf, &d, sizeof(d));
}

static int pack_one(const struct cfs_handed *h, struct cfs_buf *buf)
{
	struct handed_disk d;
	int r;

	memset(&d, 0, sizeof(d));
	d.client_id = le64_put(h->known.client_id);
	memcpy(d.secret, h->known.secret, sizeof(d.secret));
	memcpy(d.host, h->known.host, sizeof(d.host));
	memcpy(d.boot_id, h->known.boot_id, sizeof(d.boot_id));
	d.pid = le64_put(h->known.pid);
	d.process_start = le64_put(h->known.process_start);
	memcpy(d.name, h->name, sizeof(d.name));
	d.period_ns = le64_put(h->period_ns);
	d.hello_flags = le32_put(h->hello_flags);
	d.flags = le32_put(h->is_seen ? HANDED_IS_SEEN : 0);
	d.lease_count = le32_put((uint32_t)h->leases.count);
	r = cfs_buf_append(buf, &d, sizeof(d));
	for (size_t i = 0; i < h->leases.count && r == 0; i++)
		r = pack_lease(&h->leases.items[i], buf);
	return r;
}

int cfs_handed_list_pack(const struct cfs_handed_list *list,
			 struct cfs_buf *buf)
{
	const struct list_disk d = {
		.space = le64_put(list->space),
		.is_all = le32_put(list->is_all),
		.count = le32_put((uint32_t)list->v.count),
	};
	int r = cfs_buf_append(buf, &d, sizeof(d));

	for (size_t i = 0; i < list->v.count && r == 0; i++)
		r = pack_one(&list->v.items[i], buf);
	return r;
}

/* ---- from bytes ---------------------------------------------------------- */

static int bad(struct cfs_err *err)
{
	return cfs_err_set(err, -EPROTO, "a list that makes no sense");
}

struct reader {
	const uint8_t *at;
	size_t left;
};

static bool next(struct reader *in, void *ret, size_t bytes)
{
	if (in->left < bytes)
		return false;
	memcpy(ret, in->at, bytes);
	in->at += bytes;
	in->left -= bytes;
	return true;
}

static int unpack_lease(struct reader *in, struct cfs_handed *h,
			struct cfs_err *err)
{
	struct cfs_handed_lease l;
	struct lease_disk d;

	if (!next(in, &d, sizeof(d)))
		return bad(err);
	l = (struct cfs_handed_lease){
		.lease_id = le64_get(d.lease_id),
		.key = le64_get(d.key),
		.generation = le64_get(d.generation),
		.mode = le32_get(d.mode),
		.is_recallable = le32_get(d.flags) & HANDED_IS_RECALLABLE,
		.resource = {
			.container = le64_get(d.container),
			.volume = le64_get(d.volume),
			.ino = le64_get(d.ino),
			.offset_bytes = le64_get(d.offset_bytes),
			.length_bytes = le64_get(d.length_bytes),
		},
	};
	if (!l.lease_id || !cfs_lock_mode_is_valid(l.mode) ||
	    !cfs_lock_resource_is_valid(&l.resource, l.mode) ||
	    le32_get(d.flags) & ~HANDED_IS_RECALLABLE)
		return bad(err);
	return cfs_vec_push(&h->leases, l) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

static bool text_get(char *dst, const uint8_t *src, size_t bytes)
{
	memcpy(dst, src, bytes);
	return strnlen(dst, bytes) < bytes;
}

static int unpack_one(struct reader *in, struct cfs_handed *h,
		      struct cfs_err *err)
{
	struct handed_disk d;
	int r = 0;

	if (!next(in, &d, sizeof(d)))
		return bad(err);
	h->known.client_id = le64_get(d.client_id);
	memcpy(h->known.secret, d.secret, sizeof(d.secret));
	memcpy(h->known.boot_id, d.boot_id, sizeof(d.boot_id));
	h->known.pid = le64_get(d.pid);
	h->known.process_start = le64_get(d.process_start);
	h->period_ns = le64_get(d.period_ns);
	h->hello_flags = le32_get(d.hello_flags);
	h->is_seen = le32_get(d.flags) & HANDED_IS_SEEN;
	if (!h->known.client_id || le32_get(d.reserved) ||
	    le32_get(d.flags) & ~HANDED_IS_SEEN ||
	    !text_get(h->known.host, d.host, sizeof(d.host)) ||
	    !text_get(h->name, d.name, sizeof(d.name)))
		return bad(err);
	for (uint32_t i = 0; i < le32_get(d.lease_count) && r == 0; i++)
		r = unpack_lease(in, h, err);
	return r;
}

int cfs_handed_list_unpack(const void *data, size_t bytes,
			   struct cfs_handed_list *ret, struct cfs_err *err)
{
	struct reader in = { data, bytes };
	struct cfs_handed_list got = { .v = CFS_VEC_INIT };
	struct list_disk d;
	int r = next(&in, &d, sizeof(d)) && le32_get(d.is_all) <= 1 ? 0
								    : bad(err);

	for (uint32_t i = 0; r == 0 && i < le32_get(d.count); i++) {
		struct cfs_handed h = { .leases = CFS_VEC_INIT };

		r = unpack_one(&in, &h, err);
		if (r == 0 && cfs_vec_push(&got.v, h) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		if (r < 0)
			cfs_vec_done(&h.leases);
	}
	if (r == 0 && in.left)
		r = bad(err);
	if (r < 0) {
		cfs_handed_list_donep(&got);
		return r;
	}
	got.space = le64_get(d.space);
	got.is_all = le32_get(d.is_all);
	*ret = got;
	return 0;
}
