/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/devset_exclude.h"

#include "pool/devset_priv.h"

void cfs_devset_exclude(struct cfs_devset *set, uint32_t index)
{
	cfs_dev_close(set->slots[index]->dev);
	set->slots[index]->dev = NULL;
}
