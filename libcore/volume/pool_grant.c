/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a secondary is told about its container, as bytes of a message: a head
 * with counts, the records as they stand in the tables, then as many devices
 * and slices.  What is read may come from anybody.
 */
#include "volume/pool_delegate.h"

#include "ondisk/geometry.h"

#include <stdlib.h>

struct slice_disk {
	le64 lslice;
	struct cfs_smap_rec_disk smap;
};
CFS_ASSERT_SIZE(struct slice_disk, 48);

struct slices_disk {
	le64 free_slices;
	le64 total_slices;
	le32 count;
	le32 reserved;
};
CFS_ASSERT_SIZE(struct slices_disk, 24);

struct grant_disk {
	le64 container;
	le32 epoch;
	le32 device_count;
	struct cfs_container_rec_disk rec;
	struct cfs_pool_rec_disk pool;
};
CFS_ASSERT_SIZE(struct grant_disk,
		16 + sizeof(struct cfs_container_rec_disk) + 136);

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "message: %s makes no sense", what);
}

void cfs_lent_slices_donep(struct cfs_lent_slices *slices)
{
	cfs_vec_done(&slices->list);
}

void cfs_pool_grant_donep(struct cfs_pool_grant *grant)
{
	cfs_lent_slices_donep(&grant->slices);
	cfs_vec_done(&grant->devices);
}

/* ---- slices -------------------------------------------------------------- */

int cfs_lent_slices_pack(const struct cfs_lent_slices *slices,
			 struct cfs_buf *buf)
{
	const struct slices_disk d = {
		.free_slices = le64_put(slices->free_slices),
		.total_slices = le64_put(slices->total_slices),
		.count = le32_put((uint32_t)slices->list.count),
	};
	int r = cfs_buf_append(buf, &d, sizeof(d));

	for (size_t i = 0; i < slices->list.count && r == 0; i++) {
		const struct cfs_lent_slice *s = &slices->list.items[i];
		struct cfs_smap_rec rec = { .epoch = 0 };
		struct slice_disk sd = { .lslice = le64_put(s->lslice) };

		memcpy(rec.pieces, s->pieces, sizeof(rec.pieces));
		cfs_smap_rec_pack(&rec, &sd.smap);
		r = cfs_buf_append(buf, &sd, sizeof(sd));
	}
	return r;
}

static int take_slice(const uint8_t *at, struct cfs_lent_slices *ret,
		      struct cfs_err *err)
{
	struct cfs_lent_slice s;
	struct slice_disk sd;
	struct cfs_smap_rec rec;
	int r;

	memcpy(&sd, at, sizeof(sd));
	r = cfs_smap_rec_unpack(&sd.smap, sizeof(sd.smap), &rec, err);
	if (r < 0)
		return r;
	s.lslice = le64_get(sd.lslice);
	if (s.lslice > CFS_LSLICE_MAX)
		return bad(err, "a slice");
	memcpy(s.pieces, rec.pieces, sizeof(s.pieces));
	return cfs_vec_push(&ret->list, s) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

int cfs_lent_slices_unpack(const void *data, size_t bytes,
			   struct cfs_lent_slices *ret, struct cfs_err *err)
{
	struct cfs_lent_slices got = { .list = CFS_VEC_INIT };
	const uint8_t *at = data;
	struct slices_disk d;
	uint32_t count;
	int r = 0;

	if (bytes < sizeof(d))
		return bad(err, "what was lent");
	memcpy(&d, at, sizeof(d));
	at += sizeof(d);
	bytes -= sizeof(d);
	count = le32_get(d.count);
	if (bytes % sizeof(struct slice_disk) ||
	    count != bytes / sizeof(struct slice_disk))
		return bad(err, "what was lent");
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = take_slice(at + i * sizeof(struct slice_disk), &got, err);
	got.free_slices = le64_get(d.free_slices);
	got.total_slices = le64_get(d.total_slices);
	if (r < 0)
		cfs_lent_slices_donep(&got);
	else
		*ret = got;
	return r;
}

/* ---- all of it ----------------------------------------------------------- */

int cfs_pool_grant_pack(const struct cfs_pool_grant *grant, struct cfs_buf *buf)
{
	struct grant_disk d = {
		.container = le64_put(grant->container),
		.epoch = le32_put(grant->epoch),
		.device_count = le32_put((uint32_t)grant->devices.count),
	};
	int r;

	cfs_container_rec_pack(&grant->rec, &d.rec);
	cfs_pool_rec_pack(&grant->pool, &d.pool);
	r = cfs_buf_append(buf, &d, sizeof(d));
	for (size_t i = 0; i < grant->devices.count && r == 0; i++) {
		struct cfs_device_rec_disk dev;

		cfs_device_rec_pack(&grant->devices.items[i], &dev);
		r = cfs_buf_append(buf, &dev, sizeof(dev));
	}
	return r < 0 ? r : cfs_lent_slices_pack(&grant->slices, buf);
}

static int take_devices(const uint8_t *at, uint32_t count,
			struct cfs_pool_grant *ret, struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		struct cfs_device_rec_disk disk;
		struct cfs_device_rec rec;

		memcpy(&disk, at + i * sizeof(disk), sizeof(disk));
		r = cfs_device_rec_unpack(&disk, sizeof(disk), &rec, err);
		if (r == 0 && cfs_vec_push(&ret->devices, rec) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

int cfs_pool_grant_unpack(const void *data, size_t bytes,
			  struct cfs_pool_grant *ret, struct cfs_err *err)
{
	struct cfs_pool_grant g = { .container = 0 };
	const uint8_t *at = data;
	struct grant_disk d;
	uint32_t count;
	int r;

	if (bytes < sizeof(d))
		return bad(err, "what was granted");
	memcpy(&d, at, sizeof(d));
	at += sizeof(d);
	bytes -= sizeof(d);
	count = le32_get(d.device_count);
	if (count > bytes / sizeof(struct cfs_device_rec_disk))
		return bad(err, "what was granted");
	g.container = le64_get(d.container);
	g.epoch = le32_get(d.epoch);
	r = cfs_container_rec_unpack(&d.rec, sizeof(d.rec), &g.rec, err);
	if (r == 0)
		r = cfs_pool_rec_unpack(&d.pool, sizeof(d.pool), &g.pool, err);
	if (r == 0 && (g.container == 0 || g.container >> 56 ||
		       !cfs_epoch_is_delegated(g.epoch) ||
		       g.rec.epoch != g.epoch || g.rec.base_vaddr[0]))
		r = bad(err, "what was granted");
	if (r == 0)
		r = take_devices(at, count, &g, err);
	at += count * sizeof(struct cfs_device_rec_disk);
	bytes -= count * sizeof(struct cfs_device_rec_disk);
	if (r == 0)
		r = cfs_lent_slices_unpack(at, bytes, &g.slices, err);
	if (r < 0)
		cfs_pool_grant_donep(&g);
	else
		*ret = g;
	return r;
}
