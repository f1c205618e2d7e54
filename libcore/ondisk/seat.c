/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Seats.  A seat is read while the pool may be anybody's: whatever it says is
 * checked before it names a place to read a root from.
 */
#include "ondisk/seat.h"

#include "ondisk/field_priv.h"

static void place_pack(const struct cfs_place *place,
		       struct cfs_place_disk *disk)
{
	disk->device_index = le32_put(place->device_index);
	disk->is_used = le32_put(place->is_used);
	for (unsigned int i = 0; i < 2; i++) {
		disk->slot_bytes[i] = le64_put(place->slot_bytes[i]);
		disk->vaddr[i] = le64_put(place->vaddr[i]);
	}
}

static bool place_unpack(const struct cfs_place_disk *disk,
			 struct cfs_place *ret)
{
	uint32_t is_used = le32_get(disk->is_used);

	ret->is_used = is_used == 1;
	ret->device_index = le32_get(disk->device_index);
	for (unsigned int i = 0; i < 2; i++) {
		ret->slot_bytes[i] = le64_get(disk->slot_bytes[i]);
		ret->vaddr[i] = le64_get(disk->vaddr[i]);
		if (ret->slot_bytes[i] % CFS_PAGE_BYTES)
			return false;
	}
	return is_used <= 1;
}

void cfs_seat_pack(const struct cfs_seat *seat, struct cfs_page_disk *disk)
{
	struct cfs_seat_payload_disk *p = (void *)disk->payload;

	memset(p, 0, sizeof(*p));
	memcpy(p->instance_uuid, seat->instance_uuid, 16);
	memcpy(p->boot_id, seat->boot_id, 16);
	cfs_field_text_put(p->host, sizeof(p->host), seat->host);
	cfs_field_text_put(p->address, sizeof(p->address), seat->address);
	p->state = le32_put(seat->state);
	p->epoch = le32_put(seat->epoch);
	p->pid = le64_put(seat->pid);
	p->process_start = le64_put(seat->process_start);
	p->opened_ns = le64_put(seat->opened_ns);
	p->ballot_seen = le64_put(seat->ballot_seen);
	p->ballot_accepted = le64_put(seat->ballot_accepted);
	p->ballot_epoch = le32_put(seat->ballot_epoch);
	p->ballot_seat = le32_put(seat->ballot_seat);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		place_pack(&seat->roots[i], &p->roots[i]);
	for (unsigned int i = 0; i < CFS_SEAT_ABSENT_MAX; i++) {
		p->absent[i].device_index = le32_put(
			seat->absent[i].device_index);
		p->absent[i].epoch = le32_put(seat->absent[i].epoch);
		p->absent[i].stamp = le64_put(seat->absent[i].stamp);
	}
	p->absent_count = le32_put(seat->absent_count);
	p->has_clients = le32_put(seat->has_clients);
	p->clients_epoch = le32_put(seat->clients_epoch);
	p->base_epoch = le32_put(seat->base_epoch);
	p->period_ns = le64_put(seat->period_ns);
	p->silent_ns = le64_put(seat->silent_ns);
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		place_pack(&seat->plan[i], &p->plan[i]);
}

static int lists_unpack(const struct cfs_seat_payload_disk *p,
			struct cfs_seat *seat, struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		if (!place_unpack(&p->roots[i], &seat->roots[i]) ||
		    !place_unpack(&p->plan[i], &seat->plan[i]))
			return cfs_err_set(err, -EUCLEAN,
					   "seat: bad place of root %u", i);
	if (seat->absent_count > CFS_SEAT_ABSENT_MAX)
		return cfs_err_set(err, -EUCLEAN, "seat: %u devices absent",
				   seat->absent_count);
	for (unsigned int i = 0; i < seat->absent_count; i++) {
		seat->absent[i].device_index = le32_get(
			p->absent[i].device_index);
		seat->absent[i].epoch = le32_get(p->absent[i].epoch);
		seat->absent[i].stamp = le64_get(p->absent[i].stamp);
	}
	return 0;
}

int cfs_seat_unpack(const struct cfs_page_disk *disk, struct cfs_seat *ret,
		    struct cfs_err *err)
{
	const struct cfs_seat_payload_disk *p = (const void *)disk->payload;
	struct cfs_seat seat = {
		.state = le32_get(p->state),
		.epoch = le32_get(p->epoch),
		.pid = le64_get(p->pid),
		.process_start = le64_get(p->process_start),
		.opened_ns = le64_get(p->opened_ns),
		.ballot_seen = le64_get(p->ballot_seen),
		.ballot_accepted = le64_get(p->ballot_accepted),
		.ballot_epoch = le32_get(p->ballot_epoch),
		.ballot_seat = le32_get(p->ballot_seat),
		.absent_count = le32_get(p->absent_count),
		.has_clients = le32_get(p->has_clients) == 1,
		.clients_epoch = le32_get(p->clients_epoch),
		.base_epoch = le32_get(p->base_epoch),
		.period_ns = le64_get(p->period_ns),
		.silent_ns = le64_get(p->silent_ns),
	};
	int r;

	memcpy(seat.instance_uuid, p->instance_uuid, 16);
	memcpy(seat.boot_id, p->boot_id, 16);
	if (!cfs_field_text_get(seat.host, p->host, sizeof(p->host)) ||
	    !cfs_field_text_get(seat.address, p->address, sizeof(p->address)))
		return cfs_err_set(err, -EUCLEAN,
				   "seat: host or address has no end");
	if (seat.state > CFS_SEAT_TAKING)
		return cfs_err_set(err, -EUCLEAN, "seat: unknown state %u",
				   seat.state);
	if (le32_get(p->has_clients) > 1)
		return cfs_err_set(err, -EUCLEAN, "seat: bad mark of clients");
	r = lists_unpack(p, &seat, err);
	if (r < 0)
		return r;
	*ret = seat;
	return 0;
}
