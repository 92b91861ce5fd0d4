/** Offline verification of a trail: everything, with no server and no secret. */
export { auditTrail, type AuditOptions } from './audit-trail.ts'
export { type AuditRemark, type AuditReport } from './report.ts'
export { type TrailSource } from './trail-source.ts'
