const seen: string[] = [];

function entity(name: string) {
  return (target: Function) => { seen.push(`${name} ${target.name}`); };
}
function column(target: object, key: string) { seen.push(key); }
function param(target: object, key: string | symbol, index: number) { seen.push(`${String(key)} ${index}`); }

@entity('users')
class User {
  @column id!: number;
  rename(@param name: string) {}
}

console.log(seen.join(', '), new User().id);
