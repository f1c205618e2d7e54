/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records about clients.  They come out of verified nodes, but a position that
 * is not in its extent must not become an address all the same.
 */
#include "ondisk/client.h"

#include "ondisk/field_priv.h"

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "table: client: %s", what);
}

void cfs_client_rec_pack(const struct cfs_client_rec *rec,
			 struct cfs_client_rec_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->instance, rec->who.instance, sizeof(disk->instance));
	memcpy(disk->boot_id, rec->who.boot_id, sizeof(disk->boot_id));
	cfs_field_text_put(disk->host, sizeof(disk->host), rec->who.host);
	disk->pid = le64_put(rec->who.pid);
	disk->process_start = le64_put(rec->who.process_start);
	disk->state = le32_put(rec->state);
	disk->epoch = le32_put(rec->epoch);
	disk->log_id = le64_put(rec->log_id);
	disk->log_seq = le64_put(rec->log.seq);
	disk->log_chain = le64_put(rec->log.chain);
	disk->log_extent = le32_put(rec->log.extent);
	disk->log_block = le32_put(rec->log.block);
	disk->extent_count = le32_put(rec->extent_count);
	disk->fold_seq = le64_put(rec->fold_seq);
	disk->stamp = le64_put(rec->stamp);
	for (unsigned int i = 0; i < 2; i++)
		disk->grave_vaddr[i] = le64_put(rec->grave_vaddr[i]);
	for (uint32_t i = 0;
	     i < rec->extent_count && i < CFS_CLIENT_EXTENTS_MAX; i++) {
		disk->extents[i].vaddr = le64_put(rec->extents[i].vaddr);
		disk->extents[i].block_count = le32_put(
			rec->extents[i].block_count);
	}
}

int cfs_client_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_client_rec *ret, struct cfs_err *err)
{
	struct cfs_client_rec_disk d;
	struct cfs_client_rec rec = { .state = 0 };

	if (value_bytes < sizeof(d))
		return bad(err, "too short");
	memcpy(&d, value, sizeof(d));
	memcpy(rec.who.instance, d.instance, sizeof(d.instance));
	memcpy(rec.who.boot_id, d.boot_id, sizeof(d.boot_id));
	if (!cfs_field_text_get(rec.who.host, d.host, sizeof(d.host)))
		return bad(err, "name of the host");
	rec.who.pid = le64_get(d.pid);
	rec.who.process_start = le64_get(d.process_start);
	rec.state = le32_get(d.state);
	rec.epoch = le32_get(d.epoch);
	rec.log_id = le64_get(d.log_id);
	rec.log.seq = le64_get(d.log_seq);
	rec.log.chain = le64_get(d.log_chain);
	rec.log.extent = le32_get(d.log_extent);
	rec.log.block = le32_get(d.log_block);
	rec.fold_seq = le64_get(d.fold_seq);
	rec.stamp = le64_get(d.stamp);
	rec.extent_count = le32_get(d.extent_count);
	if (rec.state < CFS_CLIENT_OPEN || rec.state > CFS_CLIENT_REFUSED)
		return bad(err, "state");
	if (rec.log_id == 0 || rec.log_id > CFS_INO_MAX || rec.log.seq == 0 ||
	    rec.stamp > CFS_STAMP_MAX)
		return bad(err, "a number that cannot be");
	if (rec.extent_count == 0 || rec.extent_count > CFS_CLIENT_EXTENTS_MAX)
		return bad(err, "count of extents");
	for (unsigned int i = 0; i < 2; i++)
		rec.grave_vaddr[i] = le64_get(d.grave_vaddr[i]);
	for (uint32_t i = 0; i < rec.extent_count; i++) {
		rec.extents[i].vaddr = le64_get(d.extents[i].vaddr);
		rec.extents[i].block_count = le32_get(d.extents[i].block_count);
		if (rec.extents[i].block_count == 0)
			return bad(err, "an empty extent");
	}
	if (rec.log.extent >= rec.extent_count ||
	    rec.log.block > rec.extents[rec.log.extent].block_count)
		return bad(err, "position of the log");
	*ret = rec;
	return 0;
}

void cfs_client_loan_pack(const struct cfs_loan_rec *loan,
			  const uint64_t allowed[2],
			  struct cfs_client_loan_disk *disk)
{
	cfs_loan_rec_pack(loan, &disk->loan);
	for (unsigned int i = 0; i < 2; i++)
		disk->allowed[i] = le64_put(allowed[i]);
}

int cfs_client_loan_unpack(const void *value, size_t value_bytes,
			   struct cfs_loan_rec *ret, uint64_t ret_allowed[2],
			   struct cfs_err *err)
{
	struct cfs_client_loan_disk d;
	int r = cfs_loan_rec_unpack(value, value_bytes, ret, err);

	if (r < 0)
		return r;
	ret_allowed[0] = ret_allowed[1] = UINT64_MAX;
	if (value_bytes < sizeof(d))
		return 0;
	memcpy(&d, value, sizeof(d));
	for (unsigned int i = 0; i < 2; i++)
		ret_allowed[i] = le64_get(d.allowed[i]);
	return 0;
}

void cfs_grave_pack(uint64_t log_id, struct cfs_page_disk *disk)
{
	struct cfs_grave_payload_disk *p = (void *)disk->payload;

	memset(p, 0, sizeof(*p));
	p->log_id = le64_put(log_id);
}

uint64_t cfs_grave_unpack(const struct cfs_page_disk *disk)
{
	const struct cfs_grave_payload_disk *p = (const void *)disk->payload;

	return le64_get(p->log_id);
}
