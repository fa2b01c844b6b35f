/* See frames.h. The layouts are private to each version of Python and come from its own headers. */
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#include "frames.h"

#include <stdlib.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030E0000
#include <internal/pycore_frame.h>
#else
#include <internal/pycore_interpframe_structs.h>
#include <opcode_ids.h>
#endif

typedef struct _PyInterpreterFrame frame;

#define MOST_FRAMES 64  /* looked at, from the innermost one */
#define MOST_VARIABLES 64
#define LONGEST_TEXT 1000
#define LONGEST_TABLE 65536
#define FIRST_NATIVE_OWNER 3 /* frames with this owner or a higher one are the interpreter's own: they run no code */

/* ---- frames ------------------------------------------------------------------------------------------------ */

static const frame *innermost(const PyThreadState *copy)
{
#if PY_VERSION_HEX < 0x030D0000
    const frame *found;
    return copy->cframe != NULL && gilcmp_safe_read(&found, &copy->cframe->current_frame, sizeof(found)) ? found : NULL;
#else
    return copy->current_frame;
#endif
}

static int read_frame(frame *to, const frame *from)
{
    return from != NULL && ((uintptr_t)from & 7) == 0 && gilcmp_safe_read(to, from, offsetof(frame, localsplus));
}

static int is_native(const frame *seen)
{
#if PY_VERSION_HEX < 0x030C0000
    (void)seen;
    return 0;
#else
    return seen->owner >= FIRST_NATIVE_OWNER;
#endif
}

/* The code object of a frame. */
static uintptr_t code_of(const frame *seen)
{
#if PY_VERSION_HEX < 0x030D0000
    return (uintptr_t)seen->f_code;
#else
    uintptr_t tagged; /* a pointer, or one in a struct, with flags in its low bits */
    memcpy(&tagged, &seen->f_executable, sizeof(tagged));
    return tagged & ~(uintptr_t)3;
#endif
}

static uintptr_t instruction_of(const frame *seen)
{
#if PY_VERSION_HEX < 0x030D0000
    return (uintptr_t)seen->prev_instr;
#else
    return (uintptr_t)seen->instr_ptr;
#endif
}

/* Where in the bytecode of its function a frame is, in bytes; -1: makes no sense. */
static int32_t offset_of(const frame *seen, const PyCodeObject *copy, uintptr_t code)
{
    uintptr_t base = code + offsetof(PyCodeObject, co_code_adaptive);
    const uintptr_t at = instruction_of(seen), size = (uintptr_t)Py_SIZE(copy) * sizeof(_Py_CODEUNIT);
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    if (seen->tlbc_index > 0) { /* each thread runs a copy of the bytecode */
        _PyCodeArray array;
        if (!gilcmp_safe_read(&array, copy->co_tlbc, sizeof(array)) || seen->tlbc_index >= array.size
            || !gilcmp_safe_read(&base, (const char *)copy->co_tlbc + offsetof(_PyCodeArray, entries)
                                           + (size_t)seen->tlbc_index * sizeof(char *), sizeof(base)))
            return -1;
    }
#endif
    return at + sizeof(_Py_CODEUNIT) >= base && at < base + size ? at < base ? 0 : (int32_t)(at - base) : -1;
}

/* ---- functions --------------------------------------------------------------------------------------------- */

static gilcmp_text copy_text(const void *object)
{
    PyCompactUnicodeObject head;
    gilcmp_text text = {NULL, 0, 1};
    if (object == NULL || !gilcmp_safe_read(&head, object, sizeof(head)))
        return text;
    const PyASCIIObject *ascii = (const PyASCIIObject *)&head;
    if (!ascii->state.compact || ascii->length < 0)
        return text;
    const int32_t kind = (int32_t)ascii->state.kind;
    const int32_t length = ascii->length < LONGEST_TEXT ? (int32_t)ascii->length : LONGEST_TEXT;
    const size_t start = ascii->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject);
    if (kind != 1 && kind != 2 && kind != 4)
        return text;
    text.text = malloc((size_t)(length * kind) + 1);
    if (text.text == NULL || !gilcmp_safe_read(text.text, (const char *)object + start, (size_t)(length * kind))) {
        free(text.text);
        text.text = NULL;
        return text;
    }
    text.text[length * kind] = 0;
    text.size = length * kind;
    text.kind = kind;
    return text;
}

static void free_function(gilcmp_function *function)
{
    free(function->file.text);
    free(function->name.text);
    free(function->lines);
}

static int is_library(const gilcmp_functions *functions, const gilcmp_text *file)
{
    const size_t length = strlen(functions->library);
    if (file->kind != 1 || file->text == NULL)
        return 0;
    if (file->text[0] == '<') /* frozen */
        return strncmp(file->text, "<frozen ", 8) == 0;
    return length > 0 && strncmp(file->text, functions->library, length) == 0
        && strstr(file->text + length, "-packages") == NULL;
}

/* Whether a function of the standard library sleeps to be told something, not for a lock that somebody has. */
static int is_idle(const gilcmp_text *name)
{
    static const char *const idle[] = {
        "Condition.wait", "Thread.join", "Thread._wait_for_tstate_lock", "_shutdown", "_worker",
    };
    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
        if (name->kind == 1 && strcmp(name->text, idle[i]) == 0)
            return 1;
    return 0;
}

static uintptr_t names_of(const PyCodeObject *copy)
{
    return (uintptr_t)copy->co_filename ^ (uintptr_t)copy->co_qualname << 1;
}

/* Copy what is needed of a function; 0: it makes no sense, or there is no memory. */
static int copy_function(gilcmp_functions *functions, gilcmp_function *function, const PyCodeObject *copy, uintptr_t code)
{
    PyVarObject head;
    memset(function, 0, sizeof(*function));
    function->code = code;
    function->table = (uintptr_t)copy->co_linetable;
    function->names = names_of(copy);
    function->first_line = copy->co_firstlineno;
    if (copy->co_linetable == NULL || !gilcmp_safe_read(&head, copy->co_linetable, sizeof(head)) || Py_SIZE(&head) < 0
        || Py_SIZE(&head) > LONGEST_TABLE)
        return 0;
    function->lines_size = (int32_t)Py_SIZE(&head);
    function->lines = malloc((size_t)function->lines_size + 1);
    function->file = copy_text(copy->co_filename);
    function->name = copy_text(copy->co_qualname);
    if (function->lines == NULL || function->file.text == NULL || function->name.text == NULL
        || !gilcmp_safe_read(function->lines, (const char *)copy->co_linetable + offsetof(PyBytesObject, ob_sval),
                             (size_t)function->lines_size)) {
        free_function(function);
        return 0;
    }
    function->is_library = is_library(functions, &function->file);
    function->is_idle = function->is_library && is_idle(&function->name);
    return 1;
}

/* Where a function is in the table of slots, or the free slot for it. */
static uint32_t find_slot(const gilcmp_functions *functions, uintptr_t code, uintptr_t table, uintptr_t names, int32_t first_line)
{
    const uint32_t size = 2 * GILCMP_FUNCTIONS;
    uint32_t slot = (uint32_t)((code >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 40) % size;
    for (; functions->slots[slot] != 0; slot = (slot + 1) % size) {
        const gilcmp_function *known = &functions->list[functions->slots[slot] - 1];
        if (known->code == code && known->table == table && known->names == names && known->first_line == first_line)
            break;
    }
    return slot;
}

/* Find the copy of a function, or make it; -1: it makes no sense, or the table is full. */
static int32_t find_function(gilcmp_functions *functions, const PyCodeObject *copy, uintptr_t code)
{
    const uintptr_t table = (uintptr_t)copy->co_linetable, names = names_of(copy);
    const uint32_t slot = find_slot(functions, code, table, names, copy->co_firstlineno);
    if (functions->slots[slot] != 0)
        return functions->slots[slot] - 1;
    if (functions->n == GILCMP_FUNCTIONS || !copy_function(functions, &functions->list[functions->n], copy, code))
        return -1;
    functions->slots[slot] = ++functions->n;
    return functions->n - 1;
}

static int read_code(PyCodeObject *copy, uintptr_t code)
{
    return code != 0 && (code & 7) == 0
        && gilcmp_safe_read(copy, (const void *)code, offsetof(PyCodeObject, co_code_adaptive))
        && Py_TYPE(copy) == &PyCode_Type;
}

/* A walk along a thread's frames, from the innermost one outwards, over so many at most. */
typedef struct {
    const frame *at;
    int left;
} frame_walk;

/* Where the next frame of Python is; 0: there is none, or it makes no sense. */
static int next_site(gilcmp_functions *functions, frame_walk *walk, gilcmp_site *site)
{
    frame seen;
    while (walk->left-- > 0 && read_frame(&seen, walk->at)) {
        PyCodeObject code;
        const uintptr_t address = code_of(&seen);
        walk->at = seen.previous;
        if (is_native(&seen))
            continue;
        if (!read_code(&code, address))
            return 0;
        const int32_t offset = offset_of(&seen, &code, address);
        *site = (gilcmp_site){offset < 0 ? -1 : find_function(functions, &code, address), offset};
        return 1;
    }
    return 0;
}

void gilcmp_read_sites(gilcmp_functions *functions, const PyThreadState *copy, gilcmp_site *inner, gilcmp_site *outer)
{
    frame_walk walk = {innermost(copy), MOST_FRAMES};
    gilcmp_site site;
    *inner = *outer = GILCMP_NO_SITE;
    for (int first = 1; outer->function < 0 && next_site(functions, &walk, &site); first = 0) {
        if (first)
            *inner = site;
        if (site.function >= 0 && !functions->list[site.function].is_library)
            *outer = site;
    }
}

int gilcmp_read_stack(gilcmp_functions *functions, const PyThreadState *copy, gilcmp_site *sites, int most)
{
    frame_walk walk = {innermost(copy), 4 * MOST_FRAMES};
    int n = 0;
    while (n < most && next_site(functions, &walk, &sites[n]))
        n++;
    return n;
}

gilcmp_position gilcmp_read_position(const PyThreadState *copy)
{
    const frame *at = innermost(copy);
    frame seen;
    gilcmp_position position = {0, 0, 0};
    for (int steps = 0; steps < 4 && read_frame(&seen, at); steps++, at = seen.previous) {
        uintptr_t words[MOST_VARIABLES];
        int n_variables = 0, n_operands = 0;
        if (is_native(&seen))
            continue;
        position = (gilcmp_position){(uintptr_t)at, instruction_of(&seen), 0};
        const char *const code = (const char *)code_of(&seen);
        if (!gilcmp_safe_read(&n_variables, code + offsetof(PyCodeObject, co_nlocalsplus), sizeof(n_variables))
            || !gilcmp_safe_read(&n_operands, code + offsetof(PyCodeObject, co_stacksize), sizeof(n_operands)))
            break;
        int size = n_variables + n_operands;
        size = size < 0 ? 0 : size > MOST_VARIABLES ? MOST_VARIABLES : size;
        if (gilcmp_safe_read(words, (const char *)at + offsetof(frame, localsplus), (size_t)size * sizeof(words[0])))
            for (int i = 0; i < size; i++)
                position.variables = (position.variables ^ words[i]) * UINT64_C(0x100000001B3); /* FNV-1a, by words */
        break;
    }
    return position;
}

int gilcmp_same_position(const gilcmp_position *one, const gilcmp_position *other)
{
    return one->frame == other->frame && one->instruction == other->instruction && one->variables == other->variables;
}

/* A number of a line table: six bits a byte, the lowest first. */
static uint32_t read_varint(const gilcmp_function *function, int32_t *place)
{
    uint32_t value = 0, byte = 0x40;
    for (int shift = 0; byte & 0x40 && *place < function->lines_size && shift < 32; shift += 6) {
        byte = (unsigned char)function->lines[(*place)++];
        value |= (byte & 0x3f) << shift;
    }
    return value;
}

int32_t gilcmp_line_of(const gilcmp_function *function, int32_t offset)
{
    enum { LINE_0 = 10, LINE_2 = 12, NO_COLUMNS = 13, LONG = 14, NO_LINE = 15 };
    int32_t line = function->first_line, start = 0;
    for (int32_t place = 0; place < function->lines_size;) {
        const unsigned char head = (unsigned char)function->lines[place++];
        const int code = head >> 3 & 15;
        if (code >= LINE_0 && code <= LINE_2)
            line += code - LINE_0;
        else if (code == NO_COLUMNS || code == LONG) {
            const uint32_t delta = read_varint(function, &place);
            line += delta & 1 ? -(int32_t)(delta >> 1) : (int32_t)(delta >> 1);
        }
        start += ((head & 7) + 1) * (int32_t)sizeof(_Py_CODEUNIT);
        if (offset < start)
            return code == NO_LINE ? 0 : line;
        while (place < function->lines_size && !((unsigned char)function->lines[place] & 0x80)) /* columns */
            place++;
    }
    return 0;
}

#if PY_VERSION_HEX >= 0x030E0000

/* Whether an instruction calls something written in C. */
static int is_native_call(unsigned char opcode)
{
    switch (opcode) {
    case CALL:
    case CALL_FUNCTION_EX:
    case CALL_KW:
    case CALL_BUILTIN_CLASS:
    case CALL_BUILTIN_FAST:
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
    case CALL_BUILTIN_O:
    case CALL_KW_NON_PY:
    case CALL_METHOD_DESCRIPTOR_FAST:
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case CALL_METHOD_DESCRIPTOR_NOARGS:
    case CALL_METHOD_DESCRIPTOR_O:
    case CALL_NON_PY_GENERAL:
        return 1;
    default:
        return 0;
    }
}

#endif

int gilcmp_read_operands(const PyThreadState *copy, uintptr_t *operands, uintptr_t *entry)
{
    int n = 0;
    *entry = 0;
#if PY_VERSION_HEX >= 0x030E0000
    const frame *const first = innermost(copy), *at = first;
    frame seen;
    uintptr_t top[GILCMP_OPERANDS];
    unsigned char opcode;
    if (!read_frame(&seen, first) || is_native(&seen))
        return 0;
    const char *const above = (const char *)seen.stackpointer, *const base = (const char *)first + offsetof(frame, localsplus);
    /* what it has called before is over, though its traces are still on the stack */
    if (above > base && above < base + 65536 && gilcmp_safe_read(&opcode, seen.instr_ptr, 1) && is_native_call(opcode)) {
        const size_t room = (size_t)(above - base);
        const size_t size = room < sizeof(top) ? room / sizeof(top[0]) * sizeof(top[0]) : sizeof(top);
        const int words = (int)(size / sizeof(top[0]));
        if (gilcmp_safe_read(top, above - size, size))
            for (n = 0; n < words; n++)
                operands[n] = top[words - 1 - n] & ~(uintptr_t)3;
    }
    for (int steps = 0; steps < MOST_FRAMES && read_frame(&seen, at); steps++, at = seen.previous)
        if (is_native(&seen)) {
            *entry = (uintptr_t)at;
            break;
        }
#else
    (void)copy, (void)operands;
#endif
    return n;
}

const char *gilcmp_check_frames(void)
{
    PyThreadState *self = PyThreadState_Get();
    PyFrameObject *real = PyThreadState_GetFrame(self);
    frame seen;
    PyCodeObject copy;
    const char *reason = NULL;
    if (real == NULL)
        return "no Python code is running";
    PyCodeObject *code = PyFrame_GetCode(real);
    const frame *at = innermost(self);
    int found = read_frame(&seen, at);
    while (found && is_native(&seen)) {
        at = seen.previous;
        found = read_frame(&seen, at);
    }
    if (!found || code_of(&seen) != (uintptr_t)code || !read_code(&copy, (uintptr_t)code))
        reason = "the interpreter's frames are not where they should be";
    else if (offset_of(&seen, &copy, (uintptr_t)code) < 0)
        reason = "the place in a frame's bytecode makes no sense";
    Py_DECREF(code);
    Py_DECREF(real);
    return reason;
}

void gilcmp_keep_functions(gilcmp_functions *functions, int32_t *wanted)
{
    int32_t n = 0;
    for (int32_t index = 0; index < functions->n; index++) {
        if (!wanted[index]) {
            free_function(&functions->list[index]);
            continue;
        }
        functions->list[n] = functions->list[index];
        wanted[index] = n++;
    }
    functions->n = n;
    memset(functions->slots, 0, sizeof(functions->slots));
    for (int32_t index = 0; index < n; index++) {
        const gilcmp_function *function = &functions->list[index];
        functions->slots[find_slot(functions, function->code, function->table, function->names, function->first_line)] = index + 1;
    }
}

void gilcmp_free_functions(gilcmp_functions *functions)
{
    for (int32_t index = 0; index < functions->n; index++)
        free_function(&functions->list[index]);
    functions->n = 0;
}
