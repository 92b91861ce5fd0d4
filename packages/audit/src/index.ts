/** Offline verification of a trail: everything, with no server and no secret. For Node and browsers. */
export { auditTrail, type AuditOptions, type AuditProgress } from './audit-trail.ts'
export { type AuditRemark, type AuditReport, type FindingCode } from './report.ts'
export { trailFiles, type TrailFile, type TrailSource } from './trail-source.ts'
