/* An extension module that does not say whether it can do without the GIL. A free-threaded interpreter that imports it turns
 * the GIL on: the claim gil-turned-on does so, in a process of its own. Nothing else imports it. */
#include <Python.h>

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_unready", NULL, 0, NULL, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__unready(void)
{
    return PyModuleDef_Init(&definition);
}
