/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records about containers that another process owns. */
#include "ondisk/delegation.h"

#include "ondisk/field_priv.h"

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: delegation: %s", what);
}

void cfs_delegation_rec_pack(const struct cfs_delegation_rec *rec,
			     struct cfs_delegation_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->instance, rec->who.instance, sizeof(disk->instance));
	memcpy(disk->boot_id, rec->who.boot_id, sizeof(disk->boot_id));
	cfs_field_text_put(disk->host, sizeof(disk->host), rec->who.host);
	disk->pid = le64_put(rec->who.pid);
	disk->process_start = le64_put(rec->who.process_start);
	disk->state = le32_put(rec->state);
	disk->by_epoch = le32_put(rec->by_epoch);
	disk->since_ns = le64_put(rec->since_ns);
	disk->has_clients = le32_put(rec->has_clients);
	cfs_field_text_put(disk->address, sizeof(disk->address), rec->address);
}

int cfs_delegation_rec_unpack(const void *value, size_t value_bytes,
			      struct cfs_delegation_rec *ret,
			      struct cfs_err *err)
{
	struct cfs_delegation_rec_disk d;
	struct cfs_delegation_rec rec;

	if (value_bytes < sizeof(d))
		return bad(err, "too short");
	memcpy(&d, value, sizeof(d));
	memset(&rec, 0, sizeof(rec));
	memcpy(rec.who.instance, d.instance, sizeof(d.instance));
	memcpy(rec.who.boot_id, d.boot_id, sizeof(d.boot_id));
	if (!cfs_field_text_get(rec.who.host, d.host, sizeof(d.host)) ||
	    !cfs_field_text_get(rec.address, d.address, sizeof(d.address)))
		return bad(err, "a text has no end");
	rec.who.pid = le64_get(d.pid);
	rec.who.process_start = le64_get(d.process_start);
	rec.state = le32_get(d.state);
	rec.by_epoch = le32_get(d.by_epoch);
	rec.since_ns = le64_get(d.since_ns);
	rec.has_clients = le32_get(d.has_clients) != 0;
	if (rec.state < CFS_DELEGATION_HELD || rec.state > CFS_DELEGATION_GONE)
		return bad(err, "state");
	*ret = rec;
	return 0;
}
