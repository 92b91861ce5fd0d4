/** Standing between the code under test and what it was given, to watch or to slow it. */

/** `target` with some of its methods replaced. */
export function instead<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_target, name) {
      const own: unknown = Reflect.get(methods, name)
      if (own !== undefined) return own
      const inner: unknown = Reflect.get(target, name, target)
      return typeof inner === 'function' ? (inner.bind(target) as unknown) : inner
    },
  })
}
