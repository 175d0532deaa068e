/* SPDX-License-Identifier: MIT */
/*
 * unwind_cfi.c - from an address to a row of the call frame information: the
 * search in .eh_frame_hdr, the records of .eh_frame, the CFA interpreter.
 *
 * The formats are those of the Linux Standard Base, "Exception Frames", and
 * DWARF 5, section 6.4.  Reads the object's own mapped tables, every read
 * checked against the object's end; what is not understood means "no row".
 * No state, no lock, about 1.5 KiB of stack.
 */
#include "os/unwind_impl.h"

#if defined(__x86_64__)

#include <string.h>

/* --- Reading --- */

uint64_t
unwind_read_uint(struct unwind_reader *r, unsigned bytes)
{
    uint64_t value = 0;

    if (r->read_bad || (size_t)(r->read_end - r->read_p) < bytes) {
        r->read_bad = true;
        return 0;
    }
    memcpy(&value, r->read_p, bytes); /* little-endian, as the machine is */
    r->read_p += bytes;
    return value;
}

static int64_t
read_sint(struct unwind_reader *r, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;

    return (int64_t)(unwind_read_uint(r, bytes) << shift) >> shift;
}

uint64_t
unwind_read_uleb(struct unwind_reader *r)
{
    uint64_t value = 0;
    uint64_t byte;
    unsigned shift = 0;

    do {
        byte = unwind_read_uint(r, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0 && !r->read_bad);
    return value;
}

int64_t
unwind_read_sleb(struct unwind_reader *r)
{
    uint64_t value = 0;
    uint64_t byte;
    unsigned shift = 0;

    do {
        byte = unwind_read_uint(r, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0 && !r->read_bad);
    if ((byte & 0x40) != 0 && shift < 64)
        value |= ~(uint64_t)0 << shift;
    return (int64_t)value;
}

struct unwind_reader
unwind_block(const uint8_t *p)
{
    /* The ULEB was read once already, within its record: ten bytes hold any. */
    struct unwind_reader r = {p, p + 10, false};
    uint64_t length = unwind_read_uleb(&r);

    r.read_end = r.read_p + length;
    return r;
}

static void
skip(struct unwind_reader *r, uint64_t bytes)
{
    if (r->read_bad || (uint64_t)(r->read_end - r->read_p) < bytes)
        r->read_bad = true;
    else
        r->read_p += bytes;
}

/* Pointer encodings: a format in the low four bits, what it is relative to above. */
enum {
    PE_ABSPTR = 0x00,
    PE_ULEB128 = 0x01,
    PE_UDATA2 = 0x02,
    PE_UDATA4 = 0x03,
    PE_UDATA8 = 0x04,
    PE_SLEB128 = 0x09,
    PE_SDATA2 = 0x0a,
    PE_SDATA4 = 0x0b,
    PE_SDATA8 = 0x0c,
    PE_FORMAT = 0x0f,
    PE_PCREL = 0x10,
    PE_DATAREL = 0x30,
    PE_RELATIVE = 0x70,
    PE_INDIRECT = 0x80,
    PE_OMIT = 0xff
};

/* An encoded pointer, not dereferenced; datarel is the base of PE_DATAREL. */
static uintptr_t
read_encoded(struct unwind_reader *r, unsigned encoding, uintptr_t datarel)
{
    uintptr_t base = 0;
    uintptr_t value;

    if ((encoding & PE_RELATIVE) == PE_PCREL)
        base = (uintptr_t)r->read_p;
    else if ((encoding & PE_RELATIVE) == PE_DATAREL)
        base = datarel;
    else if ((encoding & PE_RELATIVE) != 0)
        r->read_bad = true;

    switch (encoding & PE_FORMAT) {
    case PE_ABSPTR:
    case PE_UDATA8:
    case PE_SDATA8:
        value = unwind_read_uint(r, 8);
        break;
    case PE_ULEB128:
        value = unwind_read_uleb(r);
        break;
    case PE_SLEB128:
        value = (uintptr_t)unwind_read_sleb(r);
        break;
    case PE_UDATA2:
        value = unwind_read_uint(r, 2);
        break;
    case PE_UDATA4:
        value = unwind_read_uint(r, 4);
        break;
    case PE_SDATA2:
        value = (uintptr_t)read_sint(r, 2);
        break;
    case PE_SDATA4:
        value = (uintptr_t)read_sint(r, 4);
        break;
    default:
        r->read_bad = true;
        return 0;
    }
    return base + value;
}

/* --- Records --- */

/* What a CIE says for its FDEs. */
struct cie {
    uint64_t code_align;
    int64_t data_align;
    unsigned fde_encoding;
    bool augmented; /* FDEs have augmentation data */
    bool signal;
    struct unwind_reader program; /* the initial instructions */
};

struct fde {
    uintptr_t start;
    uintptr_t size;
    struct cie cie;
    struct unwind_reader program;
};

/* Opens the record at p: its reader past the length; *id_at is where its id stands. */
static bool
open_record(const uint8_t *p, const uint8_t *end, struct unwind_reader *r, const uint8_t **id_at)
{
    *r = (struct unwind_reader){p, end, false};
    uint64_t length = unwind_read_uint(r, 4);
    if (length == 0xffffffff)
        length = unwind_read_uint(r, 8);
    if (r->read_bad || length < 4 || length > (uint64_t)(end - r->read_p))
        return false;
    r->read_end = r->read_p + length;
    *id_at = r->read_p;
    return true;
}

static bool
cie_augmentation(struct unwind_reader *r, const char *letters, struct cie *cie)
{
    uint64_t length = unwind_read_uleb(r);
    const uint8_t *data = r->read_p;

    cie->augmented = true;
    for (; *letters != '\0'; letters++) {
        unsigned encoding;
        switch (*letters) {
        case 'R':
            cie->fde_encoding = (unsigned)unwind_read_uint(r, 1);
            break;
        case 'L':
            unwind_read_uint(r, 1);
            break;
        case 'P':
            encoding = (unsigned)unwind_read_uint(r, 1);
            read_encoded(r, encoding & PE_FORMAT, 0);
            break;
        case 'S':
            cie->signal = true;
            break;
        default: /* unknown letters: nothing after them can be told apart */
            letters += strlen(letters) - 1;
            break;
        }
    }
    r->read_p = data;
    skip(r, length);
    return !r->read_bad;
}

static bool
cie_parse(const uint8_t *p, const uint8_t *end, struct cie *cie)
{
    struct unwind_reader r;
    const uint8_t *id_at;

    if (!open_record(p, end, &r, &id_at) || unwind_read_uint(&r, 4) != 0)
        return false;
    uint64_t version = unwind_read_uint(&r, 1);
    const char *letters = (const char *)r.read_p;
    while (unwind_read_uint(&r, 1) != 0)
        ;
    cie->code_align = unwind_read_uleb(&r);
    cie->data_align = unwind_read_sleb(&r);
    uint64_t ra = version == 1 ? unwind_read_uint(&r, 1) : unwind_read_uleb(&r);
    if (r.read_bad || (version != 1 && version != 3) || ra != UNWIND_RIP)
        return false;

    cie->fde_encoding = PE_ABSPTR;
    cie->augmented = false;
    cie->signal = false;
    if (letters[0] == 'z') {
        if (!cie_augmentation(&r, letters + 1, cie))
            return false;
    } else if (letters[0] != '\0') {
        return false;
    }
    cie->program = r;
    return true;
}

/* The FDE at p, with its CIE; false where it is none that we understand. */
static bool
fde_parse(const struct unwind_object *obj, const uint8_t *p, struct fde *fde)
{
    const uint8_t *end = (const uint8_t *)obj->obj_tables_end;
    struct unwind_reader r;
    const uint8_t *id_at;

    if (!open_record(p, end, &r, &id_at))
        return false;
    uint64_t back = unwind_read_uint(&r, 4);
    if (back == 0 || back > (uintptr_t)id_at - obj->obj_tables_start)
        return false;
    if (!cie_parse(id_at - back, end, &fde->cie))
        return false;
    fde->start = read_encoded(&r, fde->cie.fde_encoding, 0);
    fde->size = read_encoded(&r, fde->cie.fde_encoding & PE_FORMAT, 0);
    if (fde->cie.augmented)
        skip(&r, unwind_read_uleb(&r));
    fde->program = r;
    return !r.read_bad;
}

/* --- Search --- */

static bool
in_tables(const struct unwind_object *obj, uintptr_t p)
{
    return p - obj->obj_tables_start < obj->obj_tables_end - obj->obj_tables_start;
}

/* One line of the sorted table: both are relative to .eh_frame_hdr. */
struct hdr_entry {
    int32_t start;
    int32_t fde;
};

/* The last line that starts at or below target; NULL where none does. */
static const uint8_t *
hdr_bisect(const uint8_t *table, uint64_t count, int64_t target)
{
    uint64_t low = 0;
    uint64_t high = count;
    struct hdr_entry entry;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        memcpy(&entry, table + middle * sizeof(entry), sizeof(entry));
        if (entry.start <= target)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : table + (low - 1) * sizeof(entry);
}

/* Without a sorted table: every record in turn. */
static bool
fde_scan(const struct unwind_object *obj, const uint8_t *p, uintptr_t addr, struct fde *fde)
{
    const uint8_t *end = (const uint8_t *)obj->obj_tables_end;
    struct unwind_reader r;
    const uint8_t *id_at;

    while (open_record(p, end, &r, &id_at)) {
        if (fde_parse(obj, p, fde) && addr - fde->start < fde->size)
            return true;
        p = r.read_end;
    }
    return false;
}

static bool
fde_find(const struct unwind_object *obj, uintptr_t addr, struct fde *fde)
{
    const uint8_t *end = (const uint8_t *)obj->obj_tables_end;
    struct unwind_reader r = {(const uint8_t *)obj->obj_hdr, end, false};
    uint64_t version = unwind_read_uint(&r, 1);
    unsigned eh_frame_encoding = (unsigned)unwind_read_uint(&r, 1);
    unsigned count_encoding = (unsigned)unwind_read_uint(&r, 1);
    unsigned table_encoding = (unsigned)unwind_read_uint(&r, 1);

    if (r.read_bad || version != 1 || eh_frame_encoding == PE_OMIT)
        return false;
    uintptr_t eh_frame = read_encoded(&r, eh_frame_encoding, obj->obj_hdr);
    if (table_encoding != (PE_DATAREL | PE_SDATA4) || count_encoding == PE_OMIT) {
        return !r.read_bad && in_tables(obj, eh_frame) &&
               fde_scan(obj, (const uint8_t *)eh_frame, addr, fde);
    }
    uint64_t count = read_encoded(&r, count_encoding, obj->obj_hdr);
    if (r.read_bad || count > (uint64_t)(end - r.read_p) / sizeof(struct hdr_entry))
        return false;

    struct hdr_entry entry;
    const uint8_t *found = hdr_bisect(r.read_p, count, (int64_t)(addr - obj->obj_hdr));
    if (found == NULL)
        return false;
    memcpy(&entry, found, sizeof(entry));
    uintptr_t p = obj->obj_hdr + (uintptr_t)(intptr_t)entry.fde;
    return in_tables(obj, p) && fde_parse(obj, (const uint8_t *)p, fde) &&
           addr - fde->start < fde->size;
}

/* --- The interpreter --- */

/* Compilers nest remember_state once or twice; deeper is "not understood". */
#define REMEMBER_MAX 3

struct machine {
    struct unwind_row row;
    struct unwind_row initial; /* after the CIE's instructions: what restore restores */
    struct unwind_row remembered[REMEMBER_MAX];
    unsigned depth;
    uintptr_t loc;    /* the address that the row is for */
    uintptr_t target; /* the row wanted is that of the last loc <= target */
    const struct cie *cie;
};

/* Opcodes: DWARF 5, section 7.24. */
enum {
    CFA_ADVANCE_LOC = 0x40, /* in the top two bits, an operand below */
    CFA_OFFSET = 0x80,
    CFA_RESTORE = 0xc0,
    CFA_NOP = 0x00,
    CFA_SET_LOC = 0x01,
    CFA_ADVANCE_LOC1 = 0x02,
    CFA_ADVANCE_LOC2 = 0x03,
    CFA_ADVANCE_LOC4 = 0x04,
    CFA_OFFSET_EXTENDED = 0x05,
    CFA_RESTORE_EXTENDED = 0x06,
    CFA_UNDEFINED = 0x07,
    CFA_SAME_VALUE = 0x08,
    CFA_REGISTER = 0x09,
    CFA_REMEMBER_STATE = 0x0a,
    CFA_RESTORE_STATE = 0x0b,
    CFA_DEF_CFA = 0x0c,
    CFA_DEF_CFA_REGISTER = 0x0d,
    CFA_DEF_CFA_OFFSET = 0x0e,
    CFA_DEF_CFA_EXPRESSION = 0x0f,
    CFA_EXPRESSION = 0x10,
    CFA_OFFSET_EXTENDED_SF = 0x11,
    CFA_DEF_CFA_SF = 0x12,
    CFA_DEF_CFA_OFFSET_SF = 0x13,
    CFA_VAL_OFFSET = 0x14,
    CFA_VAL_OFFSET_SF = 0x15,
    CFA_VAL_EXPRESSION = 0x16,
    CFA_GNU_ARGS_SIZE = 0x2e,
    CFA_GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f
};

static void
save(struct machine *m, uint64_t reg, enum unwind_how how, int64_t value)
{
    if (reg >= UNWIND_REGS) /* a vector register: nobody finds a frame by it */
        return;
    m->row.row_reg[reg] =
        how == UNWIND_RESTORE ? m->initial.row_reg[reg] : (struct unwind_saved){how, value};
}

static int64_t
factored(const struct machine *m, uint64_t operand)
{
    return (int64_t)((uint64_t)m->cie->data_align * operand);
}

/* Steps over a block and returns where it (with its length) begins. */
static const uint8_t *
take_block(struct unwind_reader *r)
{
    const uint8_t *p = r->read_p;

    skip(r, unwind_read_uleb(r));
    return p;
}

static void
def_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
    m->row.row_cfa_expr = NULL;
    m->row.row_cfa_reg = reg;
    m->row.row_cfa_offset = offset;
}

/* Instructions about the CFA; false: not one of these. */
static bool
execute_cfa(struct machine *m, struct unwind_reader *r, unsigned op)
{
    uint64_t reg;

    switch (op) {
    case CFA_DEF_CFA:
        reg = unwind_read_uleb(r);
        def_cfa(m, reg, (int64_t)unwind_read_uleb(r));
        return true;
    case CFA_DEF_CFA_SF:
        reg = unwind_read_uleb(r);
        def_cfa(m, reg, factored(m, (uint64_t)unwind_read_sleb(r)));
        return true;
    case CFA_DEF_CFA_REGISTER:
        def_cfa(m, unwind_read_uleb(r), m->row.row_cfa_offset);
        return true;
    case CFA_DEF_CFA_OFFSET:
        m->row.row_cfa_offset = (int64_t)unwind_read_uleb(r);
        return true;
    case CFA_DEF_CFA_OFFSET_SF:
        m->row.row_cfa_offset = factored(m, (uint64_t)unwind_read_sleb(r));
        return true;
    case CFA_DEF_CFA_EXPRESSION:
        m->row.row_cfa_expr = take_block(r);
        return true;
    default:
        return false;
    }
}

/* Instructions about one register; false: not one of these. */
static bool
execute_register(struct machine *m, struct unwind_reader *r, unsigned op)
{
    /* All of them have the register first. */
    if (op < CFA_OFFSET_EXTENDED ||
        (op > CFA_REGISTER && op != CFA_EXPRESSION && op != CFA_OFFSET_EXTENDED_SF &&
         (op < CFA_VAL_OFFSET || op > CFA_VAL_EXPRESSION) &&
         op != CFA_GNU_NEGATIVE_OFFSET_EXTENDED))
        return false;
    uint64_t reg = unwind_read_uleb(r);

    switch (op) {
    case CFA_OFFSET_EXTENDED:
        save(m, reg, UNWIND_OFFSET, factored(m, unwind_read_uleb(r)));
        break;
    case CFA_OFFSET_EXTENDED_SF:
        save(m, reg, UNWIND_OFFSET, factored(m, (uint64_t)unwind_read_sleb(r)));
        break;
    case CFA_GNU_NEGATIVE_OFFSET_EXTENDED:
        save(m, reg, UNWIND_OFFSET, -factored(m, unwind_read_uleb(r)));
        break;
    case CFA_VAL_OFFSET:
        save(m, reg, UNWIND_VAL_OFFSET, factored(m, unwind_read_uleb(r)));
        break;
    case CFA_VAL_OFFSET_SF:
        save(m, reg, UNWIND_VAL_OFFSET, factored(m, (uint64_t)unwind_read_sleb(r)));
        break;
    case CFA_RESTORE_EXTENDED:
        save(m, reg, UNWIND_RESTORE, 0);
        break;
    case CFA_UNDEFINED:
        save(m, reg, UNWIND_UNDEFINED, 0);
        break;
    case CFA_SAME_VALUE:
        save(m, reg, UNWIND_SAME, 0);
        break;
    case CFA_REGISTER:
        save(m, reg, UNWIND_REGISTER, (int64_t)unwind_read_uleb(r));
        break;
    case CFA_EXPRESSION:
        save(m, reg, UNWIND_EXPRESSION, (int64_t)(intptr_t)take_block(r));
        break;
    default:
        save(m, reg, UNWIND_VAL_EXPRESSION, (int64_t)(intptr_t)take_block(r));
        break;
    }
    return true;
}

/* Instructions about the row; false: not one of these, or not understood. */
static bool
execute_row(struct machine *m, struct unwind_reader *r, unsigned op)
{
    switch (op) {
    case CFA_NOP:
        return true;
    case CFA_SET_LOC:
        m->loc = read_encoded(r, m->cie->fde_encoding, 0);
        return true;
    case CFA_ADVANCE_LOC1:
        m->loc += unwind_read_uint(r, 1) * m->cie->code_align;
        return true;
    case CFA_ADVANCE_LOC2:
        m->loc += unwind_read_uint(r, 2) * m->cie->code_align;
        return true;
    case CFA_ADVANCE_LOC4:
        m->loc += unwind_read_uint(r, 4) * m->cie->code_align;
        return true;
    case CFA_REMEMBER_STATE:
        if (m->depth == REMEMBER_MAX)
            return false;
        m->remembered[m->depth++] = m->row;
        return true;
    case CFA_RESTORE_STATE:
        if (m->depth == 0)
            return false;
        m->row = m->remembered[--m->depth];
        return true;
    case CFA_GNU_ARGS_SIZE: /* for landing pads; the CFA has its own say */
        unwind_read_uleb(r);
        return true;
    default:
        return false;
    }
}

/* Runs a program up to the target; false where something was not understood. */
static bool
execute(struct machine *m, struct unwind_reader r)
{
    while (r.read_p < r.read_end && m->loc <= m->target && !r.read_bad) {
        unsigned op = (unsigned)unwind_read_uint(&r, 1);
        unsigned operand = op & 0x3f;

        switch (op & 0xc0) {
        case CFA_ADVANCE_LOC:
            m->loc += operand * m->cie->code_align;
            break;
        case CFA_OFFSET:
            save(m, operand, UNWIND_OFFSET, factored(m, unwind_read_uleb(&r)));
            break;
        case CFA_RESTORE:
            save(m, operand, UNWIND_RESTORE, 0);
            break;
        default:
            if (!execute_register(m, &r, op) && !execute_cfa(m, &r, op) && !execute_row(m, &r, op))
                return false;
        }
    }
    return !r.read_bad;
}

bool
unwind_cfi_row(const struct unwind_object *obj, uintptr_t addr, struct unwind_row *row)
{
    struct fde fde;
    struct machine m;

    if (!fde_find(obj, addr, &fde))
        return false;
    memset(&m.row, 0, sizeof(m.row));
    m.initial = m.row;
    m.depth = 0;
    m.cie = &fde.cie;
    m.loc = m.target = 0; /* a CIE's program has no locations */
    if (!execute(&m, fde.cie.program))
        return false;
    m.initial = m.row;
    m.depth = 0;
    m.loc = fde.start;
    m.target = addr;
    if (!execute(&m, fde.program))
        return false;
    *row = m.row;
    row->row_signal = fde.cie.signal;
    return true;
}

#endif
