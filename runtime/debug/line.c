/*
 * The line table is a program for a small machine, one for each compiled file, which emits
 * rows (address, file, line) in order of addresses. All programs are run once, and between
 * each row and the next one the addresses asked for are looked up. See DWARF 5, 6.2.
 *
 * Whatever the file says is checked: a reader that would leave its section stops there and
 * answers zeros, and what is not understood ends the unit it stands in.
 */
#define _GNU_SOURCE
#include "runtime/debug/line.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FORM_DATA2 = 0x05,
    FORM_DATA4 = 0x06,
    FORM_DATA8 = 0x07,
    FORM_STRING = 0x08,
    FORM_BLOCK = 0x09,
    FORM_DATA1 = 0x0b,
    FORM_STRP = 0x0e,
    FORM_UDATA = 0x0f,
    FORM_DATA16 = 0x1e,
    FORM_LINE_STRP = 0x1f,
};
enum { CONTENT_PATH = 1, CONTENT_DIRECTORY = 2 };
enum { FORMATS_MAX = 8 };

struct span {
    const unsigned char *p, *end;
};

struct sections {
    struct span line, line_str, str;
};

/* A table of directories or files: entries of the same make-up. */
struct names {
    unsigned n_formats;
    struct {
        uint64_t content, form;
    } formats[FORMATS_MAX];
    uint64_t n;
    struct span entries;
};

struct unit {
    const struct sections *s;
    struct span program;
    unsigned offset_size;
    unsigned min_length, opcode_base, line_range;
    int line_base;
    unsigned char lengths[256]; /* operands of each standard opcode */
    struct names directories, files;
};

struct query {
    struct go_line *v;
    size_t n;
    uintptr_t base; /* of the program: address = base + what the file says */
};

/* --- reading ----------------------------------------------------------------------------- */

static const unsigned char *
take(struct span *s, uint64_t n)
{
    const unsigned char *p = s->p;

    if (n > (uint64_t)(s->end - s->p)) {
        s->p = s->end;
        return NULL;
    }
    s->p += n;
    return p;
}

static uint64_t
fixed(struct span *s, unsigned n)
{
    const unsigned char *p = take(s, n);
    uint64_t v = 0;

    for (unsigned i = 0; p != NULL && i < n && i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint64_t
uleb(struct span *s)
{
    uint64_t v = 0;

    for (unsigned shift = 0; s->p < s->end; shift += 7) {
        unsigned char b = *s->p++;

        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

static int64_t
sleb(struct span *s)
{
    uint64_t v = 0;
    unsigned shift = 0;
    unsigned char b = 0;

    while (s->p < s->end) {
        b = *s->p++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        shift += 7;
        if (b < 0x80)
            break;
    }
    if (shift < 64 && (b & 0x40))
        v |= ~UINT64_C(0) << shift;
    return (int64_t)v;
}

/* The string at an offset of a section; "" if it does not end there. */
static const char *
string_at(const struct span *s, uint64_t offset)
{
    size_t size = (size_t)(s->end - s->p);

    if (offset >= size || memchr(s->p + offset, '\0', size - (size_t)offset) == NULL)
        return "";
    return (const char *)s->p + offset;
}

/* A value of this form: a number, or *ret_text. False: a form that is not known. */
static bool
value(const struct unit *u, struct span *s, uint64_t form, uint64_t *ret,
      const char **ret_text)
{
    *ret = 0;
    switch (form) {
    case FORM_STRING:
        *ret_text = string_at(s, 0);
        (void)take(s, strlen(*ret_text) + 1);
        return true;
    case FORM_LINE_STRP:
        *ret_text = string_at(&u->s->line_str, fixed(s, u->offset_size));
        return true;
    case FORM_STRP:
        *ret_text = string_at(&u->s->str, fixed(s, u->offset_size));
        return true;
    case FORM_UDATA:
        *ret = uleb(s);
        return true;
    case FORM_DATA1:
        *ret = fixed(s, 1);
        return true;
    case FORM_DATA2:
        *ret = fixed(s, 2);
        return true;
    case FORM_DATA4:
        *ret = fixed(s, 4);
        return true;
    case FORM_DATA8:
        *ret = fixed(s, 8);
        return true;
    case FORM_DATA16:
        (void)take(s, 16);
        return true;
    case FORM_BLOCK:
        (void)take(s, uleb(s));
        return true;
    default:
        return false;
    }
}

/* --- names ------------------------------------------------------------------------------- */

static bool
entry(const struct unit *u, const struct names *t, struct span *s, const char **ret_path,
      uint64_t *ret_directory)
{
    for (unsigned i = 0; i < t->n_formats; i++) {
        const char *text = "";
        uint64_t number;

        if (!value(u, s, t->formats[i].form, &number, &text))
            return false;
        if (t->formats[i].content == CONTENT_PATH)
            *ret_path = text;
        else if (t->formats[i].content == CONTENT_DIRECTORY)
            *ret_directory = number;
    }
    return true;
}

static bool
find_entry(const struct unit *u, const struct names *t, uint64_t i, const char **ret_path,
           uint64_t *ret_directory)
{
    struct span s = t->entries;

    if (i >= t->n)
        return false;
    do {
        if (!entry(u, t, &s, ret_path, ret_directory))
            return false;
    } while (i-- > 0);
    return true;
}

/* Reads past a table and notes where it stands. */
static bool
read_names(const struct unit *u, struct span *s, struct names *ret)
{
    const char *path;
    uint64_t directory;

    ret->n_formats = (unsigned)fixed(s, 1);
    if (ret->n_formats > FORMATS_MAX)
        return false;
    for (unsigned i = 0; i < ret->n_formats; i++) {
        ret->formats[i].content = uleb(s);
        ret->formats[i].form = uleb(s);
    }
    ret->n = uleb(s);
    ret->entries = *s;
    for (uint64_t i = 0; i < ret->n; i++)
        if (s->p == s->end || !entry(u, ret, s, &path, &directory))
            return false;
    return true;
}

/* Meson calls the compiler from the build folder. */
static const char *
without_up(const char *path)
{
    for (;;) {
        if (strncmp(path, "../", 3) == 0)
            path += 3;
        else if (strncmp(path, "./", 2) == 0)
            path += 2;
        else
            return strcmp(path, "..") == 0 || strcmp(path, ".") == 0 ? "" : path;
    }
}

static void
name_file(const struct unit *u, uint64_t file, char *out, size_t size)
{
    const char *name = "", *dir = "";
    uint64_t d = 0, none;
    char path[512];
    size_t n, skip;

    if (!find_entry(u, &u->files, file, &name, &d))
        return;
    if (name[0] != '/' && d > 0) /* directory 0 is where the compiler ran */
        (void)find_entry(u, &u->directories, d, &dir, &none);
    dir = without_up(dir);
    name = without_up(name);
    n = (size_t)snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] != '\0' ? "/" : "",
                         name);
    if (n >= sizeof(path))
        n = sizeof(path) - 1;
    skip = n < size ? 0 : n - (size - 1); /* its end tells more */
    memcpy(out, path + skip, n - skip + 1);
}

/* --- running a unit's program ------------------------------------------------------------ */

struct row {
    uint64_t address, file;
    int64_t line;
};

/* The row holds for the addresses from its own to `end`. */
static void
answer(const struct unit *u, struct query *q, const struct row *row, uint64_t end)
{
    uintptr_t from = q->base + row->address, to = q->base + end;
    size_t lo = 0, hi = q->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (q->v[mid].pc < from)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < q->n && q->v[lo].pc < to; lo++) {
        q->v[lo].line = (int)row->line;
        name_file(u, row->file, q->v[lo].file, sizeof(q->v[lo].file));
    }
}

struct machine {
    struct row row, last; /* last: the row emitted before, if any is */
    bool any;
};

static void
emit(const struct unit *u, struct query *q, struct machine *m)
{
    if (m->any && m->row.address > m->last.address)
        answer(u, q, &m->last, m->row.address);
    m->last = m->row;
    m->any = true;
}

static void
reset(struct machine *m)
{
    *m = (struct machine){.row = {.file = 1, .line = 1}};
}

static void
extended(const struct unit *u, struct query *q, struct span *s, struct machine *m)
{
    uint64_t len = uleb(s);
    struct span op = {s->p, s->p};

    if (take(s, len) == NULL)
        return;
    op.end = s->p;
    switch (fixed(&op, 1)) {
    case 1: /* end of a sequence */
        emit(u, q, m);
        reset(m);
        break;
    case 2: /* set address */
        m->row.address = fixed(&op, 8);
        break;
    default:
        break;
    }
}

static void
advance(const struct unit *u, struct machine *m, unsigned special)
{
    m->row.address += (uint64_t)(special / u->line_range) * u->min_length;
}

static void
standard(const struct unit *u, struct query *q, struct span *s, struct machine *m,
         unsigned op)
{
    switch (op) {
    case 1: /* copy */
        emit(u, q, m);
        break;
    case 2: /* advance pc */
        m->row.address += uleb(s) * u->min_length;
        break;
    case 3: /* advance line */
        m->row.line += sleb(s);
        break;
    case 4: /* set file */
        m->row.file = uleb(s);
        break;
    case 8: /* const add pc */
        advance(u, m, 255 - u->opcode_base);
        break;
    case 9: /* fixed advance pc */
        m->row.address += fixed(s, 2);
        break;
    default: /* of no matter here, or unknown */
        for (unsigned i = 0; i < u->lengths[op]; i++)
            (void)uleb(s);
        break;
    }
}

static void
run(const struct unit *u, struct query *q)
{
    struct span s = u->program;
    struct machine m;

    reset(&m);
    while (s.p != NULL && s.p < s.end) {
        unsigned op = *s.p++;

        if (op >= u->opcode_base) {
            advance(u, &m, op - u->opcode_base);
            m.row.line += u->line_base + (int)((op - u->opcode_base) % u->line_range);
            emit(u, q, &m);
        } else if (op == 0) {
            extended(u, q, &s, &m);
        } else {
            standard(u, q, &s, &m, op);
        }
    }
}

/* The next unit's header: false at the end. u->program is empty when it is of a version
 * that is not known. */
static bool
next_unit(struct span *all, struct unit *u)
{
    uint64_t length = fixed(all, 4);
    struct span s;

    u->offset_size = 4;
    if (length == UINT32_MAX) {
        u->offset_size = 8;
        length = fixed(all, 8);
    }
    s.p = all->p;
    if (length == 0 || take(all, length) == NULL)
        return false;
    s.end = all->p;
    u->program = (struct span){s.end, s.end};
    if (fixed(&s, 2) != 5 || fixed(&s, 1) != 8 || fixed(&s, 1) != 0)
        return true;
    length = fixed(&s, u->offset_size);
    if (length > (uint64_t)(s.end - s.p))
        return true;
    u->program.p = s.p + length;
    s.end = u->program.p; /* of the header */
    u->min_length = (unsigned)fixed(&s, 1);
    (void)take(&s, 2); /* operations an instruction, default_is_stmt */
    u->line_base = (int)fixed(&s, 1);
    if (u->line_base > INT8_MAX) /* a signed byte */
        u->line_base -= 256;
    u->line_range = (unsigned)fixed(&s, 1);
    u->opcode_base = (unsigned)fixed(&s, 1);
    for (unsigned i = 1; i < u->opcode_base; i++)
        u->lengths[i] = (unsigned char)fixed(&s, 1);
    if (u->line_range == 0 || u->opcode_base == 0 ||
        !read_names(u, &s, &u->directories) || !read_names(u, &s, &u->files))
        u->program.p = u->program.end;
    return true;
}

/* --- the file ---------------------------------------------------------------------------- */

static void
find_section(const unsigned char *file, size_t size, const Elf64_Shdr *sh,
             const char *name, struct sections *ret)
{
    static const char *const names[] = {".debug_line", ".debug_line_str", ".debug_str"};
    struct span *to[] = {&ret->line, &ret->line_str, &ret->str};

    if (sh->sh_type != SHT_PROGBITS || (sh->sh_flags & SHF_COMPRESSED) ||
        sh->sh_offset > size || sh->sh_size > size - sh->sh_offset)
        return;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            *to[i] =
                (struct span){file + sh->sh_offset, file + sh->sh_offset + sh->sh_size};
}

static void
find_sections(const unsigned char *file, size_t size, struct sections *ret)
{
    const Elf64_Ehdr *eh = (const void *)file;
    const Elf64_Shdr *sh;
    struct span names;

    *ret = (struct sections){.line = {NULL, NULL}};
    if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
        eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_shentsize != sizeof(*sh) ||
        eh->e_shoff % _Alignof(Elf64_Shdr) != 0 || eh->e_shoff > size ||
        (uint64_t)eh->e_shnum * sizeof(*sh) > size - eh->e_shoff ||
        eh->e_shstrndx >= eh->e_shnum)
        return;
    sh = (const void *)(file + eh->e_shoff);
    names.p = file + sh[eh->e_shstrndx].sh_offset;
    if (sh[eh->e_shstrndx].sh_offset > size ||
        sh[eh->e_shstrndx].sh_size > size - sh[eh->e_shstrndx].sh_offset)
        return;
    names.end = names.p + sh[eh->e_shstrndx].sh_size;
    for (unsigned i = 0; i < eh->e_shnum; i++)
        find_section(file, size, &sh[i], string_at(&names, sh[i].sh_name), ret);
}

static void
look_up(const unsigned char *file, size_t size, struct query *q)
{
    struct sections s;
    struct span all;
    struct unit u;

    find_sections(file, size, &s);
    all = s.line;
    while (all.p < all.end) {
        memset(&u, 0, sizeof(u));
        u.s = &s;
        if (!next_unit(&all, &u))
            break;
        run(&u, q);
    }
}

/* The program comes first. */
static int
program_base(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    *(uintptr_t *)arg = info->dlpi_addr;
    return 1;
}

static int
by_pc(const void *a, const void *b)
{
    uintptr_t x = ((const struct go_line *)a)->pc, y = ((const struct go_line *)b)->pc;

    return x < y ? -1 : x > y;
}

void
go_lines(struct go_line *v, size_t n)
{
    struct query q = {.v = v, .n = n};
    void *file = MAP_FAILED;
    struct stat st;
    int fd;

    for (size_t i = 0; i < n; i++) {
        v[i].file[0] = '\0';
        v[i].line = 0;
    }
    if (n > 0)
        qsort(v, n, sizeof(*v), by_pc);
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (file == MAP_FAILED)
        return;
    (void)dl_iterate_phdr(program_base, &q.base);
    look_up(file, (size_t)st.st_size, &q);
    (void)munmap(file, (size_t)st.st_size);
}
