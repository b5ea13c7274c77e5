/* Prints the layout of what crosses the ABI, in the form of capi/layout.txt. */
#include <conpool/conpool.h>
#include <stdio.h>

#define FIELD(type, field)                                                \
  printf("%s.%s %u %u\n", #type, #field, (unsigned)offsetof(type, field), \
         (unsigned)sizeof(((type*)0)->field))

int main(void) {
  printf("sizeof conpool_event %u\n", (unsigned)sizeof(conpool_event));
  FIELD(conpool_event, kind);
  FIELD(conpool_event, flags);
  FIELD(conpool_event, op);
  FIELD(conpool_event, user_data);
  FIELD(conpool_event, status);
  FIELD(conpool_event, reserved);
  FIELD(conpool_event, time_ns);
  FIELD(conpool_event, object);
  FIELD(conpool_event, value);
  printf("sizeof conpool_op %u\n", (unsigned)sizeof(conpool_op));
  printf("sizeof conpool_status %u\n", (unsigned)sizeof(conpool_status));
  printf("CONPOOL_FOREVER %lld\n", (long long)CONPOOL_FOREVER);
  printf("CONPOOL_NUL_TERMINATED %d\n", CONPOOL_NUL_TERMINATED == (size_t)-1 ? -1 : 0);
  return 0;
}
